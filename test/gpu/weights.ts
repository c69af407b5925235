import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expectedTensors } from '../../trainer-image/model/llama.ts'
import type { Architecture, TensorSource } from '../../trainer-image/native/index.ts'
import { random } from '../parity/random-model.ts'

/** So far apart do two tensors begin in the file that all share: none is another's copy, and 3B parameters take 0.8 GB. */
const STRIDE = 1009

/** Random bf16 weights: norms about 1, the rest as large as a linear layer of the hidden size begins with. dispose removes their file. */
export function sharedWeights(a: Architecture, seed = 1): { tensors: TensorSource[]; dispose: () => void } {
  const shapes = [...expectedTensors(a)]
  const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)
  const norms = a.hiddenSize + STRIDE * shapes.length
  const next = random(seed)
  const value = new Float32Array(1)
  const bits = new Uint32Array(value.buffer)
  const halves = new Uint16Array(norms + STRIDE * shapes.length + Math.max(...shapes.map(([, shape]) => sizeOf(shape))))
  const width = 1.7 / Math.sqrt(a.hiddenSize)
  for (let i = 0; i < halves.length; i++) {
    value[0] = i < norms ? 0.8 + 0.4 * next() : (next() * 2 - 1) * width
    halves[i] = bits[0]! >>> 16
  }
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-gpu-'))
  const file = join(folder, 'weights.bin')
  writeFileSync(file, halves)
  const tensors = shapes.map(([name, shape], i): TensorSource => {
    const begin = STRIDE * i + (name.endsWith('norm.weight') ? 0 : norms)
    return { name, shape, dtype: 'BF16', file, offset: 2 * begin, bytes: 2 * sizeOf(shape) }
  })
  return { tensors, dispose: () => rmSync(folder, { recursive: true }) }
}
