import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const folder = mkdtempSync(join(tmpdir(), 'near-memory-'))
after(() => rmSync(folder, { recursive: true }))

const TEXTS = 100_000
const WORDS = 170
const MIB = 2 ** 20

/** In a process of its own, since the peak is the process's: each tenth text is the one before it with its last word changed. */
const program = `
import { readFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { nearDuplicateIndex } from ${JSON.stringify(fileURLToPath(new URL('dedup.ts', import.meta.url)))}
const [bytes, folder] = process.argv.slice(1)
const field = (name) => 1024 * Number(new RegExp(name + ':\\\\s+(\\\\d+) kB').exec(readFileSync('/proc/self/status', 'utf8'))[1])
const vocabulary = Array.from({ length: 2 ** 16 }, (_, i) => 'w' + (Math.imul(i, 0x9e3779b1) >>> 0))
const wordOf = (n) => {
  const mixed = Math.imul(n ^ (n >>> 15), 0x2c1b3c6d)
  return vocabulary[(mixed ^ (mixed >>> 12)) & 0xffff]
}
const textOf = (i) => {
  const words = []
  for (let w = 0; w < ${WORDS}; w++) words.push(wordOf(i * ${WORDS} + w))
  return words.join(' ')
}
const batches = function* () {
  for (let first = 0; first < ${TEXTS}; first += 1000)
    yield Array.from({ length: 1000 }, (_, k) => {
      const i = first + k
      return i % 10 === 9 ? textOf(i - 1) + ' changed' : textOf(i)
    })
}
const memory = bytes ? { memory: { bytes: Number(bytes), folder } } : {}
const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 2, ...memory })
await nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 2 }).add(batches().next().value)
const before = field('VmRSS')
for (const batch of batches()) {
  await index.add(batch)
  gc()
}
const clusters = await index.clusters()
console.log(JSON.stringify({
  grown: field('VmHWM') - before,
  spilled: index.spilled,
  duplicates: clusters.filter((first, i) => first !== i).length,
  sum: createHash('sha256').update(clusters).digest('hex'),
}))
`
async function search(bytes?: number) {
  // A small heap, collected after each batch, so that what the texts of this test leave is not most of what is measured.
  const heap = ['--expose-gc', '--max-semi-space-size=2', '--max-old-space-size=64']
  const args = [...heap, '--input-type=module', '-e', program, ...(bytes ? [String(bytes), folder] : [])]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as { grown: number; spilled: number; duplicates: number; sum: string }
}

test('the process grows by no more than 1.5 kB a text of 1 kB, and within a limit by no more than that, for the same clusters', async () => {
  const free = await search()
  assert.equal(free.spilled, 0)
  assert.equal(free.duplicates, TEXTS / 10)
  // 6 bytes a word and 140 a text must be there, or this measures nothing.
  assert.ok(free.grown > TEXTS * (6 * WORDS + 140), `${free.grown / TEXTS} bytes a text`)
  assert.ok(free.grown < TEXTS * 1500, `${free.grown / TEXTS} bytes a text`)

  const limit = 20 * MIB
  const bounded = await search(limit)
  assert.ok(bounded.spilled > 0.8 * TEXTS * (6 * WORDS + 128), `${bounded.spilled} bytes on disk`)
  assert.equal(bounded.sum, free.sum)
  // 20 bytes a text stay; the rest is one call of add, and this test's own texts and result.
  assert.ok(bounded.grown < limit + 20 * TEXTS + 24 * MIB, `${bounded.grown / MIB} MiB with a limit of ${limit / MIB}`)
  assert.deepEqual(readdirSync(folder), [])
})
