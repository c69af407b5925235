/** The plan of a run's memory on a GPU against what the engine then takes of the emulated one. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { expectedTensors, linearModules } from '../../trainer-image/model/llama.ts'
import type { ActivationCheckpointing, Architecture } from '../../trainer-image/native/index.ts'
import { type MemoryNeeds, memoryItems } from '../../trainer-image/train/memory-items.ts'
import { stepOperations } from '../../trainer-image/train/step-graphs.ts'

/** families(16)[0] of step_model.cu, with four layers. */
const architecture: Architecture = {
  family: 'llama',
  hiddenSize: 80,
  intermediateSize: 144,
  layers: 4,
  heads: 6,
  keyValueHeads: 2,
  headSize: 16,
  vocabularySize: 131,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 10000,
  tiedEmbeddings: true,
  maxPositions: 4096,
  qkvBias: false,
  outputBias: false,
  fusedProjections: false,
}
const tokens = 96
const needs = (activationBytes: 2 | 4): MemoryNeeds => ({
  architecture,
  tensors: [...expectedTensors(architecture)].map(([name, shape]) => ({
    name,
    shape,
    bytes: 4 * shape.reduce((product, size) => product * size, 1),
  })),
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
  lora: { rank: 5, dropout: 0.05, targetModules: linearModules(architecture) },
  threads: 1,
  bf16Products: false,
  lengths: {
    longestSequence: tokens,
    longestDocument: tokens,
    shortestDocument: tokens,
    mostDocuments: 1,
    mostLabels: tokens,
  },
  microBatchSize: 1,
  maxSequenceLength: tokens,
  heldByNode: 0,
  activationBytes,
})
/** Outside of what the engine counts: 32 MiB of scratch are cuBLASLt's. */
const productsWorkspace = 32 * 2 ** 20

const program = fileURLToPath(new URL('../../build/native/cuda_step', import.meta.url))
const env = { ...process.env, GOMP_SPINCOUNT: '2000' }
const lines = execFileSync(program, ['memory'], { encoding: 'utf8', env }).trim().split('\n')
test('each policy in bf16 and in f32 was measured', () => assert.equal(lines.length, 8))
for (const [path, policy, taken, withTexts, operations] of lines.map((line) => line.split(' '))) {
  const needed = needs(path === 'cuda' ? 2 : 4)
  test(`a step on ${path} with ${policy} is of as many operations as were planned, but for the first layer's and the head's`, () => {
    const more = stepOperations(needed, policy as ActivationCheckpointing) - Number(operations)
    assert.ok(more >= 0 && more <= 16, `${more} more than ${operations}`)
  })
  test(`a step on ${path} with ${policy} takes what was planned`, () => {
    const plan = memoryItems(needed, policy as ActivationCheckpointing)
    const { generation: _, ...step } = plan
    const planned = Object.values(step).reduce((sum, bytes) => sum + bytes, 0) - productsWorkspace
    const ratio = planned / Number(taken)
    assert.ok(ratio >= 1 && ratio < 1.1, `planned ${planned}, taken ${taken}: ${ratio}`)
  })
  if (policy === 'None' || policy === 'Selective') continue // where room is plenty nothing is written
  test(`texts after a step on ${path} with ${policy} take no more than was planned beside it`, () => {
    const { generation } = memoryItems(needed, policy as ActivationCheckpointing)
    const more = Number(withTexts) - Number(taken)
    assert.ok(more <= generation, `${more} more, planned ${generation}`)
  })
}
