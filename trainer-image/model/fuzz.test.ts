import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { encodeGguf, tinyLlamaGguf } from '../../test/fixtures/gguf.ts'
import { JobFailure } from '../job/failure.ts'
import { readGguf } from './gguf.ts'
import { openModel } from './open.ts'
import { readSafetensorsHeader } from './safetensors.ts'

const folder = fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'fuzz-'))
after(() => rmSync(root, { recursive: true }))
const path = join(root, 'broken')

/** Numerical Recipes' generator: the same files on every run. */
let state = 2026
const random = (limit: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return Math.floor((state / 2 ** 32) * limit)
}

const gguf = tinyLlamaGguf(folder)
const formats = [
  {
    format: 'safetensors',
    whole: readFileSync(join(folder, 'model.safetensors')),
    header: 3000,
    read: readSafetensorsHeader,
  },
  { format: 'GGUF', whole: encodeGguf(gguf.metadata, gguf.tensors), header: 24_000, read: readGguf },
]

for (const { format, whole, header, read } of formats) {
  /** Resolves with the outcome; anything but a clean read or SourceInvalid fails the test. */
  const outcome = async (bytes: Uint8Array): Promise<string> => {
    writeFileSync(path, bytes)
    const before = process.memoryUsage().rss
    const begun = performance.now()
    const result = await read(path).then(
      () => 'read',
      (error) => {
        if (!(error instanceof JobFailure)) throw error
        return error.reason
      },
    )
    assert.ok(performance.now() - begun < 2000, 'took two seconds')
    assert.ok(process.memoryUsage().rss - before < 200e6, 'took 200 MB')
    return result
  }

  test(`${format} cut off anywhere is SourceInvalid`, async () => {
    const lengths = [0, 1, 7, 8, 9, 24, ...Array.from({ length: 150 }, () => random(header)), whole.byteLength - 1]
    for (const length of lengths)
      assert.equal(await outcome(whole.subarray(0, length)), 'SourceInvalid', `cut to ${length} bytes`)
  })

  test(`${format} with flipped bits in its header is read or SourceInvalid`, async () => {
    const seen = new Map<string, number>()
    for (let round = 0; round < 400; round++) {
      const broken = Buffer.from(whole)
      for (let flips = 1 + random(3); flips > 0; flips--) {
        // Half of the flips go to the first bytes: magic, version, counts, lengths.
        const at = random(random(2) === 0 ? 128 : header)
        broken[at] = broken[at]! ^ (1 << random(8))
      }
      const result = await outcome(broken)
      seen.set(result, (seen.get(result) ?? 0) + 1)
    }
    assert.deepEqual([...seen.keys()].sort(), ['SourceInvalid', 'read'])
  })

  test(`${format} with random bytes in its header is read or SourceInvalid`, async () => {
    for (let round = 0; round < 150; round++) {
      const broken = Buffer.from(whole)
      const at = random(header)
      for (let i = at; i < at + 1 + random(16); i++) broken[i] = random(256)
      assert.match(await outcome(broken), /^(read|SourceInvalid)$/)
    }
  })
}

test('a GGUF with flipped bits in its metadata opens or fails with words', async () => {
  const whole = encodeGguf(gguf.metadata, gguf.tensors)
  for (let round = 0; round < 150; round++) {
    const broken = Buffer.from(whole)
    const at = random(24_000)
    broken[at] = broken[at]! ^ (1 << random(8))
    writeFileSync(path, broken)
    await openModel(path).catch((error) => assert.ok(error instanceof JobFailure, `byte ${at}: ${error.stack}`))
  }
})
