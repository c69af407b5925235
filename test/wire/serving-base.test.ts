import assert from 'node:assert/strict'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { status as grpc } from '@grpc/grpc-js'
import { openModel } from '../../trainer-image/model/open.ts'
import { verifySealed } from '../../trainer-image/storage/sealed.ts'
import { templateDate } from '../../trainer-image/train/example.ts'
import { Claim, desired, modelName, ServingPod } from './serving-pod.ts'

let claim: Claim
let pod: ServingPod | undefined
afterEach(async () => {
  await pod?.stop('SIGKILL')
  pod = undefined
  await claim.remove()
})

const ready = (of: ServingPod) => of.until('ready', (status) => status === 200)

async function flipLastBit(path: string): Promise<void> {
  const bytes = await readFile(path)
  bytes[bytes.length - 1]! ^= 1
  await writeFile(path, bytes)
}

const unusable = [
  {
    base: 'that is truncated',
    spoil: () => truncate(join(claim.model, 'model.safetensors'), 100_000),
    says: /model\.safetensors.*truncated/,
  },
  { base: 'that is not there', spoil: () => rm(claim.model, { recursive: true }), says: /there is no such model/ },
  {
    base: 'of other bytes than its digest stands for',
    spoil: () => flipLastBit(join(claim.model, 'model.safetensors')),
    says: /models\/tiny-llama holds base sha256:.*; expected sha256:/,
  },
]
for (const { base, spoil, says } of unusable)
  test(`a pod with a base ${base} lives, refuses what it is told in words, and never serves`, async () => {
    claim = await Claim.create()
    const adapter = await claim.checkpoint('one', 1)
    await spoil()
    await claim.want(1, undefined)
    pod = await ServingPod.start(claim)
    const { failure, digest, loadedTime } = await pod.until(
      'failed',
      (_, { failedGeneration }) => failedGeneration === 1,
    )
    assert.match(failure, says)
    assert.deepEqual([digest, loadedTime], ['', ''])
    await assert.rejects(pod.activate(desired(2, adapter)), { code: grpc.FAILED_PRECONDITION, details: says })
    const { status, state } = await pod.readiness()
    assert.deepEqual([status, state.failedGeneration], [503, 2])
    assert.equal((await fetch(`${pod.url}/healthz`)).status, 200)
    assert.equal((await pod.say('The')).status, 503)
    assert.ok(pod.lives)
    assert.equal(await pod.stop('SIGTERM'), 0)
  })

test('a context that is longer than the model has is refused in the words of the field, without a crash', async () => {
  claim = await Claim.create()
  await claim.want(1, undefined)
  pod = await ServingPod.start(claim, { maxContextTokens: 4096 })
  const { failure } = await pod.until('failed', (_, { failedGeneration }) => failedGeneration === 1)
  assert.equal(failure, "serving.maxContextTokens is 4096, expected at most 2048, the model's own limit")
  await sleep(1000)
  assert.ok(pod.lives)
})

test('a pod whose base comes back serves by itself', async () => {
  claim = await Claim.create()
  const adapter = await claim.checkpoint('one', 1)
  const weights = join(claim.model, 'model.safetensors')
  await flipLastBit(weights)
  await claim.want(1, adapter)
  pod = await ServingPod.start(claim)
  await pod.until('failed', (_, { failedGeneration }) => failedGeneration === 1)
  await flipLastBit(weights)
  const { digest, failure } = await ready(pod)
  assert.deepEqual([digest, failure], [adapter.digest, ''])
})

test('a promoted adapter that was damaged is promoted again from its checkpoint, and stays refused without one', async () => {
  claim = await Claim.create()
  const adapter = await claim.checkpoint('one', 1)
  await claim.want(1, adapter)
  pod = await ServingPod.start(claim)
  await ready(pod)
  const said = await pod.say('The old house')
  const promoted = claim.adapterFile(adapter.digest, 'adapter_model.safetensors')
  const damage = async (): Promise<void> => {
    const bytes = await readFile(promoted)
    await rm(promoted) // linked to the checkpoint's, which stays whole
    await writeFile(promoted, bytes.subarray(0, bytes.length - 1))
  }
  await damage()
  await pod.activate(desired(2, undefined))
  await pod.activate(desired(3, adapter))
  assert.deepEqual(await pod.say('The old house'), said)
  await verifySealed(join(promoted, '..'))

  await damage()
  await rm(join(claim.dataDir, 'runs'), { recursive: true })
  await pod.activate(desired(4, undefined))
  await assert.rejects(pod.activate(desired(5, adapter)), {
    code: grpc.DATA_LOSS,
    details: /has \d+ bytes; the manifest/,
  })
})

test('the chat template sees the date that the adapter was trained with, and the usual one where none is recorded', async () => {
  const template = "{{ strftime_now('%A, %d %B %Y') }}{{ messages[0]['content'] }}"
  claim = await Claim.create(async (model) => {
    const path = join(model, 'tokenizer_config.json')
    const config = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify({ ...config, chat_template: template }))
  })
  const date = '09 Sep 2015'
  const dated = await claim.checkpoint('dated', 1, { templateDate: date })
  const undated = await claim.checkpoint('undated', 2)
  const { chatTemplate, tokenizer } = await openModel(claim.model)
  const messages = [{ role: 'user', content: 'Hello' }] as const
  const promptTokens = (dateString: string): number =>
    tokenizer.encode(chatTemplate.render(messages, { addGenerationPrompt: true, dateString })).length
  assert.notEqual(promptTokens(date), promptTokens(templateDate))

  await claim.want(1, dated)
  pod = await ServingPod.start(claim)
  await ready(pod)
  const told = async (): Promise<number> => {
    const body = JSON.stringify({ model: modelName, messages, max_tokens: 1 })
    const answer = await fetch(`${pod?.url}/v1/chat/completions`, { method: 'POST', body })
    return ((await answer.json()) as { usage: { prompt_tokens: number } }).usage.prompt_tokens
  }
  assert.equal(await told(), promptTokens(date))
  await pod.activate(desired(2, undated))
  assert.equal(await told(), promptTokens(templateDate))
})

test('an adapter answers with the chat template that it was trained with, on a base that has none too', async () => {
  claim = await Claim.create(async (model) => {
    const path = join(model, 'tokenizer_config.json')
    const { chat_template: _, ...config } = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, JSON.stringify(config))
  })
  const templates = ["{{ messages[0]['content'] }}", "user: {{ messages[0]['content'] }} assistant: "]
  const { tokenizer } = await openModel(claim.model)
  const adapters = await Promise.all(
    templates.map((chatTemplate, i) => claim!.checkpoint(`t${i}`, i + 1, { chatTemplate })),
  )
  await claim.want(1, adapters[0])
  pod = await ServingPod.start(claim)
  await ready(pod)
  const ask = async (): Promise<{ usage?: { prompt_tokens: number }; error?: { message: string } }> => {
    const messages = [{ role: 'user', content: 'Hello' }]
    const body = JSON.stringify({ model: modelName, messages, max_tokens: 1 })
    const answer = await fetch(`${pod?.url}/v1/chat/completions`, { method: 'POST', body })
    return (await answer.json()) as Awaited<ReturnType<typeof ask>>
  }
  assert.equal((await ask()).usage?.prompt_tokens, tokenizer.encode('Hello').length)
  await pod.activate(desired(2, adapters[1]))
  assert.equal((await ask()).usage?.prompt_tokens, tokenizer.encode('user: Hello assistant: ').length)
  await pod.activate(desired(3, undefined))
  assert.match((await ask()).error?.message ?? '', /has no chat template/)
})
