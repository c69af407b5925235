import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openModel } from '../model/open.ts'
import type { TensorSource } from '../native/index.ts'
import type { Example } from './example.ts'
import { untrainedTokens } from './untrained.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const folder = mkdtempSync(join(tmpdir(), 'untrained-'))
after(() => rmSync(folder, { recursive: true }))

const { tokenizer } = opened
const [first, second] = [...tokenizer.specialIds] as [number, number]
const name = (id: number) => tokenizer.decode([id], false)
const example = (...tokens: number[]) => ({ tokens: Int32Array.from(tokens) }) as unknown as Example
const ordinary = tokenizer.encode('a cat')[0] as number

/** The rows of some tokens, in the numbers of a dtype; every other row is 1. */
function matrix(
  dtype: 'F32' | 'F16' | 'BF16',
  values: ReadonlyMap<number, number>,
  title = 'model.embed_tokens.weight',
) {
  const columns = 4
  const write = {
    F32: (bytes: Buffer, value: number, at: number) => bytes.writeFloatLE(value, 4 * at),
    F16: (bytes: Buffer, value: number, at: number) => bytes.writeUInt16LE(value === 0 ? 0x8000 : 0x3c00, 2 * at),
    BF16: (bytes: Buffer, value: number, at: number) =>
      bytes.writeUInt16LE(Buffer.from(Float32Array.of(value).buffer).readUInt32LE() >>> 16, 2 * at),
  }[dtype]
  const rows = tokenizer.vocabularySize
  const bytes = Buffer.alloc(rows * columns * (dtype === 'F32' ? 4 : 2))
  for (let at = 0; at < rows * columns; at++) write(bytes, values.get(Math.floor(at / columns)) ?? 1, at)
  const file = join(folder, `${dtype}-${title}`)
  writeFileSync(file, Buffer.concat([Buffer.alloc(16, 0xff), bytes]))
  return { name: title, shape: [rows, columns], dtype, file, offset: 16, bytes: bytes.length } as TensorSource
}
const told = (tensors: readonly TensorSource[], examples: readonly Example[]) =>
  untrainedTokens(examples, { tensors, tokenizer })

test('trap 17: tokens of the examples that the base never learnt are named, in each kind of number', async () => {
  for (const dtype of ['F32', 'F16', 'BF16'] as const) {
    const tensors = [matrix(dtype, new Map([[first, 0]]))]
    const [warning, ...more] = await told(tensors, [example(ordinary), example(ordinary, first, second)])
    assert.deepEqual(more, [], dtype)
    assert.ok(warning?.startsWith(`the base was never trained on ${name(first)} (the embedding is zero)`), warning)
  }
  const noise = [
    matrix(
      'BF16',
      new Map([
        [first, 1e-20],
        [second, 1e-8],
      ]),
    ),
  ]
  assert.equal((await told(noise, [example(first, second)])).length, 1)
  const head = [matrix('F32', new Map([[second, 0]]), 'lm_head.weight')]
  assert.match((await told(head, [example(second)])).join(), /the row of the head is zero/)
})

test('what no example holds, what is no special token and what is trained is passed over', async () => {
  const tensors = [
    matrix(
      'F32',
      new Map([
        [first, 0],
        [ordinary, 0],
      ]),
    ),
  ]
  assert.deepEqual(await told(tensors, [example(ordinary, second)]), [])
  assert.deepEqual(await told([{ ...tensors[0]!, dtype: 'Q8_0' }], [example(first)]), [])
  const all = [...tokenizer.specialIds]
  assert.deepEqual(await untrainedTokens([example(...all)], opened), [], 'the fixture is whole')
})
