import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { sumModel } from '../../trainer-image/model/identity.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { encodeSafetensors } from '../../trainer-image/model/safetensors.ts'
import { oddArchitecture, randomWeights } from '../parity/random-model.ts'
import { type Claim, makeClaim, reaches, startPod, stepsOf } from './training-pod.ts'

/** Large enough that one micro-batch of all texts takes many seconds on any machine that runs these tests. */
const large = {
  ...oddArchitecture,
  hiddenSize: 320,
  intermediateSize: 960,
  layers: 6,
  heads: 5,
  keyValueHeads: 5,
  headSize: 64,
  vocabularySize: 600,
  maxPositions: 2048,
}

/** Puts the large model in the place of the claim's tiny one; tokenizer and template stay. */
async function enlarge(claim: Claim): Promise<void> {
  const folder = join(claim.dataDir, claim.config.model!.path)
  const { tensors, dispose } = randomWeights(large)
  const weights = tensors.map(({ name, shape, file, offset, bytes }) => ({
    name,
    dtype: 'F32' as const,
    shape,
    data: readFileSync(file).subarray(offset, offset + bytes),
  }))
  writeFileSync(join(folder, 'model.safetensors'), Buffer.concat(encodeSafetensors(weights)))
  dispose()
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
  const sizes = {
    hidden_size: large.hiddenSize,
    intermediate_size: large.intermediateSize,
    num_hidden_layers: large.layers,
    num_attention_heads: large.heads,
    num_key_value_heads: large.keyValueHeads,
    head_dim: large.headSize,
  }
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, ...sizes }))
  claim.config.model!.digest = (await sumModel(await openModel(folder))).digest
}

test('SIGTERM in the middle of a micro-batch that takes longer than the grace for it seals the last step', async (t) => {
  const claim = await makeClaim((config) => ({
    ...config,
    training: { ...config.training!, maxSteps: 3, microBatchSize: 32, gradientAccumulation: 1 },
    evaluation: { everySteps: 0, maxExamples: 1, maxTokens: 0 },
    checkpoints: { everySteps: 0, keep: 1 },
    logging: { everySteps: 1, tensorBoard: false, weightsAndBiases: undefined },
  }))
  try {
    await enlarge(claim)
    const pod = startPod(claim, claim.config, 'pod-slow')
    await reaches(pod, 1)
    await sleep(200)
    const began = performance.now()
    pod.process.kill('SIGTERM')
    const { code, result, output } = await pod.ended
    const milliseconds = performance.now() - began
    const step = /"tokensPerSecond":([\d.]+)/.exec(output)
    t.diagnostic(`left after ${milliseconds.toFixed(0)} ms; this model makes ${step?.[1]} tokens/s`)
    assert.equal(code, 143, output)
    assert.deepEqual(stepsOf(claim), [1])
    assert.deepEqual([result?.run?.state, result?.run?.progress?.step], ['RUN_STATE_STOPPED', 1])
    assert.ok(milliseconds < 5000)
  } finally {
    claim.remove()
  }
})
