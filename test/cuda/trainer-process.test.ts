/** A trainer's own process on the emulated device: it trains, and what a device can refuse ends it with its reason, words and exit code. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { type Claim, makeClaim, reaches, startPod } from '../wire/training-pod.ts'

suite('a trainer with backend CUDA', () => {
  let claim: Claim
  before(async () => {
    process.env['HUMANIZER_NATIVE'] = join(import.meta.dirname, '../../build/native/emulated_native.node')
    claim = await makeClaim((config) => ({
      ...config,
      backend: 'CUDA',
      training: { ...config.training!, microBatchSize: 1, gradientAccumulation: 1 },
      evaluation: { ...config.evaluation!, everySteps: 0, maxExamples: 1, maxTokens: 32 },
      logging: { ...config.logging!, everySteps: 1 },
    }))
  })
  after(() => claim.remove())

  const refusals = [
    { emulated: '0 0', words: /no NVIDIA driver in this container: the pod must ask for nvidia\.com\/gpu/ },
    { emulated: '1 12040', words: /too old: it speaks CUDA 12\.4; expected at least driver 580/ },
  ] as const
  for (const { emulated, words } of refusals)
    test(`ends as DriverUnusable where ${words.source}`, async () => {
      process.env['EMULATED_CUDA'] = emulated
      const { code, result, output } = await startPod(claim, claim.config, 'pod').ended
      delete process.env['EMULATED_CUDA']
      assert.equal(code, 72, output)
      assert.equal(result?.reason, 'DriverUnusable')
      assert.match(result.message, words)
    })

  test('trains, and ends as DeviceLost when the memory of its GPU breaks', async () => {
    const pod = startPod(claim, claim.config, 'pod')
    await reaches(pod, 2)
    pod.process.kill('SIGUSR2')
    const { code, result, output } = await pod.ended
    assert.equal(code, 78, output)
    assert.equal(result?.reason, 'DeviceLost')
    assert.match(output, /"graphs":[1-9]\d*/) // of the plan
    assert.match(result.message, /an error that it cannot correct: drain the node and reset the GPU/)
  })
})
