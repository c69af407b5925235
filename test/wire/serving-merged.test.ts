/** A pod whose weights hold the adapter answers as one that has it beside the unquantised base, and serves nothing else. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { status as grpc } from '@grpc/grpc-js'
import { pino } from 'pino'
import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import type { ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { JobContext } from '../../trainer-image/job/context.ts'
import { merge } from '../../trainer-image/merge/merge.ts'
import { type Checkpoint, Claim, desired, modelName, ServingPod } from './serving-pod.ts'

const plain = { type: 'None', blockSize: 64, doubleQuantization: false }
let claim: Claim
let adapter: Checkpoint
let pod: ServingPod
let config: Partial<ServeConfig>

const ready = (of: ServingPod) => of.until('ready', (status) => status === 200)

before(async () => {
  claim = await Claim.create()
  adapter = await claim.checkpoint('one', 1, { base: { ...claim.base, quantization: plain } })
  const wanted = MergeConfig.fromPartial({
    model: { path: 'models/tiny-llama', digest: claim.base.digest, name: 'tiny-llama' },
    digest: adapter.digest,
    sourcePath: adapter.path,
  })
  const context = { dataDir: claim.dataDir, log: pino({ enabled: false }), signal: AbortSignal.any([]) }
  const { model } = await merge(wanted, context as Partial<JobContext> as JobContext)
  config = { model, quantization: { ...plain, computeDtype: 'Auto' }, mergedDigest: adapter.digest }
  await claim.want(1, adapter)
  pod = await ServingPod.start(claim, config)
  await ready(pod)
})
after(async () => {
  await pod?.stop('SIGKILL')
  await claim.remove()
})

test('it says that it serves the adapter, and answers as base and adapter do', async () => {
  const { state } = await pod.readiness()
  assert.deepEqual([state.digest, state.generation, state.failure], [adapter.digest, 1, ''])
  const merged = await pod.say('The old man')
  assert.equal(merged.digest, adapter.digest)
  const other = await ServingPod.start(claim, { quantization: { ...plain, computeDtype: 'Auto' } })
  try {
    await ready(other)
    // Of a model with random weights only the first tokens are sure to be the same after rounding.
    assert.equal(
      (await other.say('The old man', { max_tokens: 3 })).text,
      (await pod.say('The old man', { max_tokens: 3 })).text,
    )
    assert.notEqual((await other.say('The old man', { model: `${modelName}@base` })).text, merged.text)
  } finally {
    await other.stop('SIGKILL')
  }
})

test('there is no base beside it', async () => {
  const { status, text } = await pod.say('The', { model: `${modelName}@base` })
  assert.equal(status, 404)
  assert.match(text, /does not exist/)
  const { data } = (await (await fetch(`${pod.url}/v1/models`)).json()) as { data: { id: string; root: string }[] }
  assert.deepEqual(
    data.map(({ id, root }) => [id, root]),
    [[modelName, adapter.digest]],
  )
})

test('the base and another adapter are refused in words, and what serves serves on', async () => {
  const second = await claim.checkpoint('two', 2)
  await assert.rejects(pod.activate(desired(2, second)), {
    code: grpc.FAILED_PRECONDITION,
    details: /merged into its weights, and can serve nothing else; it was asked for sha256:/,
  })
  await assert.rejects(pod.deactivate(3), { code: grpc.FAILED_PRECONDITION, details: /it was asked for base/ })
  assert.equal((await pod.say('The')).digest, adapter.digest)
  assert.equal((await pod.activate(desired(4, adapter))).digest, adapter.digest)
})

test('a configuration that names another adapter than is in the weights never serves', async () => {
  await pod.stop()
  const second = await claim.checkpoint('two', 2)
  await claim.want(5, second)
  pod = await ServingPod.start(claim, { ...config, mergedDigest: second.digest })
  const { failure } = await pod.until('failed', (_, { failedGeneration }) => failedGeneration === 5)
  assert.match(failure, /merged\/[0-9a-f]{64} is not sha256:[0-9a-f]{64} merged into its base/)
})
