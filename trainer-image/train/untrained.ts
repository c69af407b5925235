import { open } from 'node:fs/promises'
import type { OpenedModel } from '../model/open.ts'
import type { TensorSource } from '../native/index.ts'
import type { Example } from './example.ts'

/** A row of nothing larger was never moved by a gradient: what a released base has for the tokens that it reserves. */
const UNTRAINED = 1e-16

/** By name, what a row is to its token. */
const matrices = { 'model.embed_tokens.weight': 'embedding', 'lm_head.weight': 'row of the head' } as const

/**
 * A base without instruction tuning often lacks the tokens of the chat template that it is used with: they mean nothing to it, and a frozen base
 * cannot learn them. What such tokens the examples hold, in words. Matrices in other than plain numbers are not looked at.
 */
export async function untrainedTokens(
  examples: readonly Example[],
  { tensors, tokenizer }: Pick<OpenedModel, 'tensors' | 'tokenizer'>,
): Promise<string[]> {
  const used = new Set<number>()
  for (const { tokens } of examples) for (const id of tokens) if (tokenizer.specialIds.has(id)) used.add(id)
  const warnings: string[] = []
  for (const [name, words] of Object.entries(matrices)) {
    const matrix = tensors.find((tensor) => tensor.name === name)
    const found = matrix ? await untrainedRows(matrix, [...used].sort(ascending)) : []
    if (found.length === 0) continue
    const named = found.map((id) => tokenizer.decode([id], false)).join(', ')
    warnings.push(
      `the base was never trained on ${named} (the ${words} is zero), which the examples hold; expected an instruction-tuned base, or spec.format.chatTemplate of the dataset with tokens that it knows`,
    )
  }
  return warnings
}

const ascending = (a: number, b: number): number => a - b

async function untrainedRows(
  { file, offset, shape, dtype }: TensorSource,
  rows: readonly number[],
): Promise<readonly number[]> {
  const read = readers[dtype]
  const [count = 0, columns = 0] = shape
  if (read === undefined) return []
  const handle = await open(file)
  try {
    const row = Buffer.alloc(columns * read.bytes)
    const found: number[] = []
    for (const id of rows) {
      if (id >= count) continue
      await handle.read(row, 0, row.length, offset + id * row.length)
      let largest = 0
      for (let at = 0; at < row.length; at += read.bytes) largest = Math.max(largest, Math.abs(read.value(row, at)))
      if (largest <= UNTRAINED) found.push(id)
    }
    return found
  } finally {
    await handle.close()
  }
}

const half = new DataView(new ArrayBuffer(4))
/** A bfloat16 is the upper half of a float32. Of a float16 only whether it is zero counts: its smallest is 6e-8. */
const readers: Readonly<
  Partial<Record<TensorSource['dtype'], { readonly bytes: number; value(row: Buffer, at: number): number }>>
> = {
  F32: { bytes: 4, value: (row, at) => row.readFloatLE(at) },
  F16: { bytes: 2, value: (row, at) => row.readUInt16LE(at) & 0x7fff },
  BF16: {
    bytes: 2,
    value(row, at) {
      half.setUint32(0, row.readUInt16LE(at) * 2 ** 16)
      return half.getFloat32(0)
    },
  },
}
