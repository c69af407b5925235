/** What a run's base, its adapter and the adapter's moments take in memory, as the engine holds them: llama_weights.cc, adapter.cc. */
import { moduleShape } from '../model/llama.ts'
import type { MemoryNeeds } from './memory-items.ts'

const product = (shape: readonly number[]): number => shape.reduce((all, size) => all * size, 1)
const isLinear = (name: string): boolean => /^model\.layers\.\d+\..*_proj\.weight$/.test(name)

export function weightBytes({ tensors, quantization }: MemoryNeeds): number {
  const { type, blockSize, doubleQuantization } = quantization
  const saved = tensors.some(({ nf4 }) => nf4) // a base in 4 bits is held as its files have it, what they kept in 16 bits too
  const bytesOf = ({ name, shape, bytes, nf4 }: (typeof tensors)[number]): number => {
    const values = product(shape)
    if (shape.length < 2) return 4 * values
    if (saved ? !nf4 : type === 'None' || !isLinear(name)) return bytes
    const blocks = Math.ceil(values / blockSize)
    return Math.ceil(values / 2) + (doubleQuantization ? blocks + 4 * Math.ceil(blocks / 256) : 4 * blocks) // nf4.h
  }
  return tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0)
}

/** Of one layer, the number of values of each LoRA matrix. */
const matrixSizes = ({ architecture, lora }: MemoryNeeds): number[] =>
  lora.targetModules.flatMap((module) => moduleShape(architecture, module).map((side) => lora.rank * side))

export const adapterBytes = (needs: MemoryNeeds): number =>
  4 * needs.architecture.layers * matrixSizes(needs).reduce((sum, values) => sum + values, 0)

/** adamw8bit.h: matrices of fewer values keep float32, the others a code each and a float32 scale for 256. */
export function optimizerBytes(needs: MemoryNeeds): number {
  const in8 = needs.lora.optimizer === 'AdamW8bit'
  const bytesOf = (values: number) => (in8 && values >= 4096 ? values + 4 * Math.ceil(values / 256) : 4 * values)
  return 2 * needs.architecture.layers * matrixSizes(needs).reduce((sum, values) => sum + bytesOf(values), 0)
}
