/** An adapter serves on a vLLM only if that vLLM computes with it what was computed when it was sealed. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { status as grpc, type ServiceError } from '@grpc/grpc-js'
import { failureReason } from '../../operator/release/obstacle.ts'
import { readCanary } from '../../trainer-image/evaluate/canary.ts'
import { readManifest } from '../../trainer-image/storage/sealed.ts'
import { adapterName } from '../../trainer-image/vllm/adapter.ts'
import { proveCanary } from '../../trainer-image/vllm/canary.ts'
import { VllmClient } from '../../trainer-image/vllm/client.ts'
import { VllmServer } from '../fixtures/vllm.ts'
import { measuredOn } from './canary-set.ts'
import { type Checkpoint, Claim, desired, modelName, quantization, ServingPod } from './serving-pod.ts'

const baseName = `${modelName}@base`
let claim: Claim
let vllm: VllmServer
let pod: ServingPod
let served: Checkpoint
let generation = 1

before(async () => {
  claim = await Claim.create()
  vllm = await VllmServer.start({ base: baseName, maxLoraRank: 16, model: claim.model })
  served = await sealed('served', 1)
  await claim.want(generation, served)
  pod = await ServingPod.start(claim, { vllm: { url: vllm.url, maxLoraRank: 16, baseName, quantization: '' } })
  await pod.until('ready', (status) => status === 200)
})
after(async () => {
  await pod?.stop('SIGKILL')
  await vllm?.stop()
  await claim?.remove()
})

/** An adapter with the losses that a trainer measures. */
const sealed = (run: string, seed: number, type: 'None' | 'NF4' = 'None'): Promise<Checkpoint> =>
  claim.checkpoint(run, seed, {
    base: { digest: claim.base.digest, quantization: { ...quantization, type } },
    canary: measuredOn(claim.model, undefined, undefined, type),
  })

async function refused(
  adapter: Checkpoint,
  says: RegExp,
  reason: string,
  code = grpc.FAILED_PRECONDITION,
): Promise<void> {
  await assert.rejects(pod.activate(desired(++generation, adapter)), (error: ServiceError) => {
    assert.equal(grpc[error.code], grpc[code], error.details)
    assert.match(error.details, says)
    assert.equal(failureReason(error.details), reason)
    return true
  })
  const { status, state } = await pod.readiness()
  assert.deepEqual([status, state.digest, state.failedGeneration], [200, served.digest, generation])
  assert.equal((await pod.say('The')).digest, served.digest, 'what served serves on')
  assert.ok(vllm.asked.includes(`POST /v1/unload_lora_adapter ${adapterName(adapter.digest)}`))
}

test('an adapter whose sealed losses vLLM computes as well serves; they are asked by token ids', async () => {
  assert.equal((await pod.say('The')).digest, served.digest)
  const name = adapterName(served.digest)
  const asked = vllm.requests.filter(({ prompt_logprobs }) => prompt_logprobs !== undefined)
  assert.deepEqual(
    asked.map(({ model, prompt }) => [model, (prompt as number[]).length]),
    [
      [name, 10],
      [name, 11],
    ],
  )
  assert.partialDeepStrictEqual(asked[0], { prompt_logprobs: 1, max_tokens: 1, temperature: 0 })
})

test('an adapter that was trained beside 4 bits serves on a vLLM with the weights as they were stored', async () => {
  const beside4Bits = await sealed('nf4', 2, 'NF4')
  await pod.activate(desired(++generation, beside4Bits))
  served = beside4Bits
  assert.equal((await pod.say('The')).digest, served.digest)
})

const numbers = /^canary text one: loss \d+\.\d{5} here \(vLLM bf16\), \d+\.\d{5} when it was sealed \(CPU \w+\), /

test('a vLLM that computes another adapter under the digest’s name is refused, with the numbers', async () => {
  const adapter = await sealed('mistaken', 13)
  vllm.mistaken.set(adapterName(adapter.digest), claim.adapterFile(served.digest, '.'))
  const says = new RegExp(`${numbers.source}expected within 0\\.05; the untouched base agrees$`)
  await refused(adapter, says, 'CanaryFailed')
})

test('a vLLM that lists an adapter and computes without it is refused, by the wide tolerance too', async () => {
  // It lowers the loss by 0.32.
  const adapter = await sealed('unapplied', 6, 'NF4')
  vllm.mistaken.set(adapterName(adapter.digest), undefined)
  await refused(adapter, new RegExp(`${numbers.source}expected within 0\\.2; `), 'CanaryFailed')
})

test('a vLLM that does not tell prompt_logprobs is told of in words, and asked again', async () => {
  const adapter = await sealed('untold', 5)
  vllm.promptLogprobs = 'refused'
  const name = adapterName(adapter.digest)
  const words = 'Prefix caching with prompt logprobs not yet supported on VLLM V1.'
  await refused(adapter, new RegExp(`^vLLM answered 400 to prompt_logprobs of ${name}: ${words}$`), 'LoadFailed')
  vllm.promptLogprobs = 'cut'
  await refused(adapter, /^vLLM at http.*\/v1\/completions does not answer: /, 'LoadFailed', grpc.UNAVAILABLE)
  vllm.promptLogprobs = 'empty'
  const says = new RegExp(`^vLLM told no prompt_logprobs of token 3 of canary text one under ${name}; expected one`)
  await refused(adapter, says, 'LoadFailed')
  vllm.promptLogprobs = 'told'
  await pod.until('served', (_, { digest }) => digest === adapter.digest)
})

test('a vLLM that quantises its base as the trainer did is held to the narrow tolerance', async (t) => {
  const like = { base: baseName, maxLoraRank: 16, model: claim.model, quantization: 'bitsandbytes' } as const
  const quantising = await VllmServer.start(like)
  t.after(() => quantising.stop())
  const client = new VllmClient(quantising.url)
  const { digest, path } = await sealed('narrow', 2, 'NF4')
  const name = adapterName(digest)
  const folder = join(claim.dataDir, path)
  const canary = readCanary((await readManifest(folder))?.canary, folder)!
  await client.load(name, folder)
  const trainedBeside = { ...quantization, type: 'NF4' } as const
  const prove = (said: string) => proveCanary(client, name, { baseName, quantization: said }, canary, trainedBeside)
  await prove('bitsandbytes')
  // Without it, vLLM computes losses that are 0.15 higher.
  quantising.mistaken.set(name, undefined)
  await prove('')
  await assert.rejects(prove('bitsandbytes'), { message: /expected within 0\.05; the untouched base agrees$/ })
})
