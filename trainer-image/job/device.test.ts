import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceMemory, engineInfo, loadModel } from '../native/index.ts'
import { onDevice } from './device.ts'
import { failureOf } from './failure.ts'

const cases = [
  { backend: 'Auto', file: true, kernels: true, is: true },
  { backend: '', file: true, kernels: true, is: true },
  { backend: 'Auto', file: false, kernels: true, is: false },
  { backend: 'Auto', file: true, kernels: false, is: /^backend is Auto with a GPU.*ENGINE=cuda/ },
  { backend: '', file: true, kernels: false, is: /^backend is Auto with a GPU/ },
  { backend: 'CPU', file: true, kernels: true, is: false },
  { backend: 'CUDA', file: false, kernels: true, is: true }, // the engine then says what is wrong with the driver
  { backend: 'CUDA', file: false, kernels: false, is: /^backend is CUDA with a GPU/ },
] as const
for (const { backend, file, kernels, is } of cases)
  test(`backend '${backend}' ${file ? 'with' : 'without'} a device file and ${kernels ? 'with' : 'without'} kernels: ${is}`, () => {
    const decided = () => onDevice(backend, { hasDeviceFile: () => file, hasKernels: () => kernels })
    if (is instanceof RegExp) assert.throws(decided, { reason: 'DriverUnusable', message: is })
    else assert.equal(decided(), is)
  })

test('an engine without kernels, or without a driver, refuses the GPU in words and as DriverUnusable', async () => {
  const words = engineInfo().cuda ? /no NVIDIA driver in this container/ : /built for the CPU alone.*ENGINE=cuda/
  const refused = (error: unknown): boolean => {
    const { reason, message } = failureOf(error)
    assert.equal(reason, 'DriverUnusable')
    assert.match(message, words)
    return true
  }
  assert.throws(deviceMemory, refused)
  for (const instructionPath of ['cuda', 'cuda_f32'] as const) {
    const quantization = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
    const loading = loadModel(architecture, [], { quantization, threads: 1, instructionPath })
    await assert.rejects(loading, refused)
  }
})

const architecture = {
  family: 'llama',
  hiddenSize: 8,
  intermediateSize: 8,
  layers: 1,
  heads: 1,
  keyValueHeads: 1,
  headSize: 8,
  vocabularySize: 8,
  rmsNormEpsilon: 1e-5,
  ropeTheta: 10_000,
  tiedEmbeddings: true,
  maxPositions: 8,
  qkvBias: false,
  outputBias: false,
  fusedProjections: false,
} as const
