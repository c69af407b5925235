import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reclaimOf } from '../workload/reclaim.ts'
import { configDigest, trainConfig } from './train-config.ts'
import { trainChildren } from './train-job.ts'
import { run } from './world.ts'

const settings = { trainerImage: 'trainer:1', trainerImagePullPolicy: 'IfNotPresent', publicKeyPem: 'PEM' }
const claim = { name: 'humanizer', singleNode: false }

test('computeDType goes to the trainer as asked, and is part of what no attempt may change', () => {
  const asking = (computeDType: 'Auto' | 'BFloat16' | 'Float32') =>
    run({ quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDType } })
  const plan = { microBatchSize: 1, gradientAccumulation: 1 }
  for (const computeDType of ['Auto', 'BFloat16', 'Float32'] as const) {
    const given = asking(computeDType)
    const [config] = trainChildren(given, 1, plan, claim, settings, reclaimOf(given))
    const { quantization } = JSON.parse((config as unknown as { data: Record<string, string> }).data['config.json']!)
    assert.equal(quantization.computeDtype, computeDType)
  }
  assert.notEqual(configDigest(asking('Float32')), configDigest(asking('Auto')))
})

test('a run that asked for a GPU is told to compute on it, and never falls back to the CPU', () => {
  const told = (backend: 'Auto' | 'CPU' | 'CUDA', limits: Record<string, number>) => {
    const given = run({ backend, pod: { resources: { limits } } })
    return trainConfig(given, 1, { microBatchSize: 1, gradientAccumulation: 1 }, '', reclaimOf(given)).backend
  }
  assert.equal(told('Auto', { cpu: 2 }), 'Auto')
  for (const name of ['nvidia.com/gpu', 'nvidia.com/gpu.shared', 'nvidia.com/mig-1g.10gb']) {
    assert.equal(told('Auto', { [name]: 1 }), 'CUDA')
    assert.equal(told('CUDA', { [name]: 1 }), 'CUDA')
    assert.equal(told('CPU', { [name]: 1 }), 'CPU')
  }
  const onGpu = run({ pod: { resources: { limits: { 'nvidia.com/gpu': 1 } } } })
  assert.equal(configDigest(onGpu), configDigest(run({})), 'a later attempt may get another pod')
})
