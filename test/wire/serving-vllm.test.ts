/** A release whose pod computes with vLLM: the real process beside a server that answers as vLLM's API does. */
import assert from 'node:assert/strict'
import { appendFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { status as grpc } from '@grpc/grpc-js'
import { adapterName, loadUnlessThere } from '../../trainer-image/vllm/adapter.ts'
import { VllmClient } from '../../trainer-image/vllm/client.ts'
import { VllmServer } from '../fixtures/vllm.ts'
import { type Checkpoint, Claim, desired, modelName, ServingPod } from './serving-pod.ts'

const base = `${modelName}@base`
let claim: Claim
let vllm: VllmServer
let pod: ServingPod | undefined
let first: Checkpoint
let second: Checkpoint

beforeEach(async () => {
  claim = await Claim.create()
  first = await claim.checkpoint('one', 1)
  second = await claim.checkpoint('two', 2)
  vllm = await VllmServer.start({ base, maxLoraRank: 16 })
})
afterEach(async () => {
  await pod?.stop('SIGKILL')
  pod = undefined
  await vllm.stop()
  await claim.remove()
})

async function start(maxLoraRank = 16): Promise<ServingPod> {
  pod = await ServingPod.start(claim, { vllm: { url: vllm.url, maxLoraRank, baseName: base, quantization: '' } })
  return pod
}
const ready = (of: ServingPod) => of.until('ready', (status) => status === 200)
const said = (adapter: Checkpoint) => `said by ${adapterName(adapter.digest).slice(0, 12)}`
const post = (path: string, body: object) =>
  fetch(`${pod!.url}${path}`, { method: 'POST', body: JSON.stringify({ model: modelName, ...body }) })

test('a switch loads the next under its digest, flips the release’s name and unloads the last', async () => {
  await claim.want(1, first)
  const serving = await start()
  await ready(serving)
  assert.deepEqual(await serving.say('The'), { status: 200, text: said(first), digest: first.digest })
  assert.deepEqual(vllm.adapters, [adapterName(first.digest)])
  const { digest, generation } = await serving.activate(desired(2, second))
  assert.deepEqual([digest, generation], [second.digest, 2])
  assert.deepEqual(await serving.say('The'), { status: 200, text: said(second), digest: second.digest })
  await serving.until('unloaded', () => vllm.adapters.length === 1)
  assert.deepEqual(vllm.adapters, [adapterName(second.digest)])
  assert.equal((await serving.deactivate(3)).digest, '')
  assert.deepEqual(await serving.say('The'), { status: 200, text: 'said by base', digest: 'base' })
})

test('clients see the release’s name and never vLLM’s, in answers, streams and lists', async () => {
  await claim.want(1, first)
  await ready(await start())
  const whole = (await (await post('/v1/chat/completions', { messages: [] })).json()) as { model: string }
  assert.equal(whole.model, modelName)
  const stream = await post('/v1/completions', { prompt: 'The', stream: true })
  assert.match(stream.headers.get('content-type') ?? '', /event-stream/)
  const text = await stream.text()
  assert.match(text, /^data: \{.*"model":"prose".*\}\n\n(data: .*\n\n)+data: \[DONE\]\n\n$/)
  assert.doesNotMatch(text, /adapter-[0-9a-f]{64}/)
  const { data } = (await (await fetch(`${pod!.url}/v1/models`)).json()) as { data: { id: string; root: string }[] }
  assert.deepEqual(
    data.map(({ id, root }) => [id, root]),
    [
      [modelName, first.digest],
      [base, base],
    ],
  )
  assert.equal(
    (await post('/v1/completions', { model: base, prompt: 'x' })).headers.get('x-humanizer-adapter-digest'),
    'base',
  )
  assert.equal((await post('/v1/completions', { model: adapterName(first.digest), prompt: 'x' })).status, 404)
  assert.equal((await fetch(`${pod!.url}/v1/models/${adapterName(first.digest)}`)).status, 404)
  assert.equal((await post('/v1/chat/completions', { messages: [], chat_template: 'x' })).status, 400)
})

test('a rewrite is asked with the prompt of the dataset, by the template of the adapter', async () => {
  const chatTemplate = '{% for m in messages %}<{{ m.role }}: {{ m.content }}>{% endfor %}'
  const own = await claim.checkpoint('three', 3, { chatTemplate })
  await claim.want(1, own)
  await ready(await start())
  const answer = (await (await post('/v1/rewrite', { text: 'hello', max_tokens: 8 })).json()) as Record<string, unknown>
  assert.deepEqual([answer.text, answer.model, answer.digest], [said(own), modelName, own.digest])
  assert.partialDeepStrictEqual(vllm.requests.at(-1), {
    prompt: '<system: Rewrite.><user: Text: hello>',
    max_tokens: 8,
    add_special_tokens: false,
  })
  await post('/v1/chat/completions', { messages: [] })
  assert.equal(vllm.requests.at(-1)?.chat_template, chatTemplate)
})

/** A pod on the first adapter, and an answer of it that stops after one word until `vllm.goOn` is called. */
async function startStreaming() {
  await claim.want(1, first)
  const serving = await start()
  await ready(serving)
  const stream = await post('/v1/completions', { prompt: 'The', stream: true, user: 'slow' })
  await serving.until('begun', () => vllm.goOn !== undefined)
  return { serving, stream }
}

test('an answer that has begun ends on the adapter that it began with, which is unloaded only then', async () => {
  const { serving, stream } = await startStreaming()
  await serving.activate(desired(2, second))
  assert.deepEqual(vllm.adapters, [adapterName(first.digest), adapterName(second.digest)])
  vllm.goOn?.()
  const text = await stream.text()
  assert.match(text, /"text":"adapter-/)
  await serving.until('unloaded', () => vllm.adapters.length === 1)
})

test('a switch back to an adapter that an answer still runs on takes it as it is, and the end of that answer unloads nothing', async () => {
  const { serving, stream } = await startStreaming()
  await serving.activate(desired(2, second))
  const { activeRequests, drainingRequests } = await serving.activate(desired(3, first))
  assert.deepEqual([activeRequests, drainingRequests], [1, 0])
  vllm.goOn?.()
  assert.match(await stream.text(), /"text":"adapter-.*\[DONE\]/s)
  await serving.until('let go', (_, state) => state.activeRequests + state.drainingRequests === 0)
  await serving.until('unloaded', () => vllm.adapters.length === 1)
  assert.deepEqual(await serving.say('The'), { status: 200, text: said(first), digest: first.digest })
  const changes = vllm.asked.filter((line) => /load_lora_adapter/.test(line))
  assert.deepEqual(changes, [
    `POST /v1/load_lora_adapter ${adapterName(first.digest)}`,
    `POST /v1/load_lora_adapter ${adapterName(second.digest)}`,
    `POST /v1/unload_lora_adapter ${adapterName(second.digest)}`,
  ])
})

test('a name that is being unloaded is loaded again, not taken for one that stays', async () => {
  const client = new VllmClient(vllm.url)
  const [name, path] = [adapterName(first.digest), join(claim.dataDir, first.path)]
  await loadUnlessThere(client, name, path)
  vllm.unloadTime = 100
  await Promise.all([client.unload(name), loadUnlessThere(client, name, path)])
  assert.deepEqual(vllm.adapters, [name])
})

test('a share of the requests goes to a second adapter in the same vLLM, and both come back after its restart', async () => {
  await claim.want(1, first)
  const serving = await start()
  await ready(serving)
  const { digest, path: sourcePath } = second
  await serving.activate({ ...desired(2, first), split: { digest, sourcePath, format: undefined, percent: 50 } })
  const answers = async () => {
    const all = []
    for (let i = 0; i < 4; i++) all.push((await serving.say('The')).digest)
    return all.sort()
  }
  const halves = [first.digest, first.digest, digest, digest].sort()
  assert.deepEqual(await answers(), halves)
  vllm.restart()
  await serving.until('loaded again', (status) => status === 200 && vllm.adapters.length === 2)
  assert.deepEqual(await answers(), halves)
})

const refused = [
  {
    what: 'a rank above --max-lora-rank, before vLLM is asked',
    rank: 2,
    says: /the adapter has rank 4, expected at most spec\.serving\.vllm\.maxLoraRank 2/,
  },
  {
    what: 'a rank that vLLM was started with too little for',
    rank: 16,
    options: { maxLoraRank: 2 },
    says: /vLLM answered 500: LoRA rank 4 is greater than max_lora_rank 2\./,
  },
  {
    what: 'a vLLM that does not let adapters be loaded',
    rank: 16,
    options: { runtimeUpdating: false },
    says: /vLLM has no \/v1\/load_lora_adapter; expected it to run with --enable-lora and VLLM_ALLOW/,
  },
]
for (const { what, rank, options, says } of refused)
  test(`trap 21: ${what} refuses the switch in words, and the base serves on`, async () => {
    await vllm.stop()
    vllm = await VllmServer.start({ base, maxLoraRank: 16, ...options })
    await claim.want(1, undefined)
    const serving = await start(rank)
    await ready(serving)
    await assert.rejects(serving.activate(desired(2, first)), { code: grpc.FAILED_PRECONDITION, details: says })
    assert.equal((await serving.say('The')).digest, 'base')
    if (rank === 2) assert.ok(!vllm.asked.some((line) => line.includes('load_lora_adapter')))
  })

test('an adapter that vLLM loads and cannot compute with is refused', async () => {
  await claim.want(1, first)
  const serving = await start()
  await ready(serving)
  vllm.broken.add(adapterName(second.digest))
  await assert.rejects(serving.activate(desired(2, second)), { details: /500 to one token of adapter-.*EngineCore/ })
  assert.equal((await serving.say('The')).digest, first.digest)
})

test('a name that vLLM has from an earlier life of this container is taken, not loaded twice', async () => {
  await claim.want(1, first)
  await ready(await start())
  await pod!.stop('SIGKILL')
  const loads = () => vllm.asked.filter((line) => line.startsWith('POST /v1/load_lora_adapter')).length
  assert.equal(loads(), 1)
  await ready(await start())
  assert.equal(loads(), 1)
})

const loadsOf = ({ digest }: Checkpoint): number =>
  vllm.asked.filter((line) => line === `POST /v1/load_lora_adapter ${adapterName(digest)}`).length

test('requests to a vLLM that has started again wait until it has their adapter, which is loaded once', async () => {
  await claim.want(1, first)
  const serving = await start()
  await ready(serving)
  vllm.loadTime = 200
  vllm.restart()
  const rewrite = post('/v1/rewrite', { text: 'hello' })
  const answers = await Promise.all([1, 2, 3, 4].map((_) => serving.say('The')))
  for (const answer of answers) assert.deepEqual(answer, { status: 200, text: said(first), digest: first.digest })
  assert.equal((await rewrite).status, 200)
  assert.equal(loadsOf(first), 2)

  await appendFile(claim.adapterFile(first.digest, 'adapter_model.safetensors'), ' ')
  vllm.restart()
  const { status, text } = await serving.say('The')
  assert.equal(status, 503)
  assert.match(text, /vLLM has lost the adapter, .*adapter_model\.safetensors has \d+ bytes/)
  await serving.until('not ready', (status) => status === 503)
  assert.deepEqual([vllm.adapters, loadsOf(first)], [[], 2])
})

test('what is warm comes back after a restart of vLLM, and a switch back to it in that moment answers, too', async () => {
  await claim.want(1, first)
  const serving = await start()
  await ready(serving)
  await serving.activate({ ...desired(2, second), warmSeconds: 60 })
  vllm.restart()
  await serving.until('both loaded again', () => vllm.adapters.length === 2)
  vllm.restart()
  await serving.activate({ ...desired(3, first), warmSeconds: 60 })
  assert.deepEqual(await serving.say('The'), { status: 200, text: said(first), digest: first.digest })
  await serving.activate(desired(4, first))
  await serving.activate(desired(5, undefined))
  await serving.until('unloaded', () => vllm.adapters.length === 0)
})

test('a pod whose vLLM is not there yet says so and serves once it is', async () => {
  const { port } = new URL(vllm.url)
  await claim.want(1, undefined)
  await vllm.stop()
  pod = await ServingPod.start(claim, {
    vllm: { url: `http://127.0.0.1:${port}`, maxLoraRank: 16, baseName: base, quantization: '' },
  })
  const { failure } = await pod.until('failed', (_, { failedGeneration }) => failedGeneration === 1)
  assert.match(failure, /vLLM at http.* does not answer: .*ECONNREFUSED/)
  assert.equal((await pod.say('The')).status, 503)
  vllm = await VllmServer.start({ base, maxLoraRank: 16 }, Number(port))
  await ready(pod)
})

test('a damaged base is never served', async () => {
  await appendFile(`${claim.model}/tokenizer.json`, ' ')
  await claim.want(1, undefined)
  const serving = await start()
  const { failure } = await serving.until('failed', (_, { failedGeneration }) => failedGeneration === 1)
  assert.match(failure, /models\/tiny-llama holds base sha256:.*; expected sha256:/)
})
