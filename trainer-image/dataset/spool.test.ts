import assert from 'node:assert/strict'
import { mkdir, mkdtemp, open, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { openSpool, type SpooledText, writeSpool } from './spool.ts'

const root = await mkdtemp(join(tmpdir(), 'spool-'))
after(() => rm(root, { recursive: true, force: true }))

const MEBI = 2 ** 20
/** One and two bytes a character, three, and four; some of a mebibyte, so that there are several blocks. */
const texts: SpooledText[] = Array.from({ length: 60 }, (_, i) => ({
  id: `s0-${i + 1}`,
  text: ['plain', 'é', '“words”', '🙂'][i % 4]?.repeat(i % 5 === 0 ? MEBI / 8 : i) ?? '',
  input: i % 3 === 0 ? `pair ${i}` : '',
}))
texts.push({ id: 'large', text: '語'.repeat(4 * MEBI), input: '' })
const folders = ['first', 'none', 'second'].map((name) => join(root, name))
const shares = [texts.slice(0, 40), [], texts.slice(40)]
for (const [i, folder] of folders.entries()) {
  await mkdir(folder)
  await writeSpool(folder, async (spool) => {
    for (const text of shares[i] ?? []) await spool.append([text])
    await spool.append([])
  })
}

test('texts come back as they were, in their order, over all folders', async () => {
  const blocks: (readonly SpooledText[])[] = []
  for await (const block of openSpool(folders).read()) blocks.push(block)
  assert.deepEqual(blocks.flat(), texts)
  assert.ok(blocks.length > 2, `${blocks.length} blocks`)
})

test('picked texts come in the order of their ordinals; those that are not there are left out', async () => {
  const found = await openSpool(folders).pick([60, 3, 45, 3, 61, 0])
  assert.deepEqual(
    [...found],
    [0, 3, 45, 60].map((ordinal) => [ordinal, texts[ordinal]]),
  )
  assert.deepEqual(await openSpool(folders).pick([]), new Map())
})

test('a spool that was cut off is an error, not an end', async () => {
  const path = join(folders[2] as string, 'texts')
  const { size } = await stat(path)
  const file = await open(path, 'r+')
  await file.truncate(size - 1)
  await file.close()
  await assert.rejects(
    async () => {
      for await (const _ of openSpool(folders).read());
    },
    { message: /^a spool ends at \d+; expected \d+ bytes from \d+ on$/ },
  )
})
