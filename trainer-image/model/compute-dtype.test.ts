import assert from 'node:assert/strict'
import { test } from 'node:test'
import { JobFailure } from '../job/failure.ts'
import { backendOf, computePathOf, continuedPath, instructionPathOf } from './compute-dtype.ts'

const avx2 = { instructionPath: 'avx2', instructionPaths: ['baseline', 'avx2'] } as const
const zen4 = { instructionPath: 'avx512', instructionPaths: ['baseline', 'avx2', 'avx512', 'avx512_bf16'] } as const

test('Auto, and nothing said, take bf16 products where the processor has them', () => {
  for (const asked of ['Auto', '']) {
    assert.equal(instructionPathOf(asked, zen4), 'avx512_bf16')
    assert.equal(instructionPathOf(asked, avx2), 'avx2')
  }
})

test('Float32 takes the widest path whose products are float32', () => {
  assert.equal(instructionPathOf('Float32', zen4), 'avx512')
  assert.equal(instructionPathOf('Float32', avx2), 'avx2')
})

test('BFloat16 is refused, with words, on a processor without', () => {
  assert.equal(instructionPathOf('BFloat16', zen4), 'avx512_bf16')
  assert.throws(
    () => instructionPathOf('BFloat16', avx2),
    (error) =>
      error instanceof JobFailure &&
      error.reason === 'ConfigurationInvalid' &&
      /computeDtype is BFloat16; expected Auto or Float32/.test(error.message),
  )
})

test('a run goes on with the kernels of its start where they are, however wide the processor', () => {
  assert.equal(continuedPath('avx2', false, 'Auto', zen4), 'avx2')
  assert.equal(continuedPath('avx512', false, 'Auto', zen4), 'avx512')
  assert.equal(continuedPath('avx512_bf16', false, 'BFloat16', zen4), 'avx512_bf16')
})

test('without them Auto goes on with what there is, and BFloat16 is refused', () => {
  assert.equal(continuedPath('avx512_bf16', false, 'Auto', avx2), 'avx2')
  assert.throws(() => continuedPath('avx512_bf16', false, 'BFloat16', avx2), /expected Auto or Float32/)
})

test('a GPU computes in bf16 but where Float32 is asked', () => {
  assert.deepEqual(
    ['', 'Auto', 'BFloat16', 'Float32'].map((asked) => computePathOf(true, asked, avx2)),
    ['cuda', 'cuda', 'cuda', 'cuda_f32'],
  )
  assert.equal(computePathOf(false, 'Auto', zen4), 'avx512_bf16')
  assert.deepEqual((['cuda', 'cuda_f32', 'avx2'] as const).map(backendOf), ['CUDA', 'CUDA', 'CPU'])
})

test('a run goes on where this attempt is: on a GPU that the start had not, or on the processor without it', () => {
  assert.equal(continuedPath('cuda', true, 'Auto', zen4), 'cuda')
  assert.equal(continuedPath('avx512', true, 'Auto', zen4), 'cuda')
  assert.equal(continuedPath('cuda', false, 'Auto', avx2), 'avx2')
})
