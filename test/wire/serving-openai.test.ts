import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import OpenAI, { APIError } from 'openai'
import { type Checkpoint, Claim, desired, modelName, ServingPod } from './serving-pod.ts'

let claim: Claim
let pod: ServingPod
let client: OpenAI
let adapter: Checkpoint

before(async () => {
  claim = await Claim.create()
  adapter = await claim.checkpoint('one', 1)
  await claim.want(1, adapter)
  pod = await ServingPod.start(claim)
  await pod.until('ready', (status) => status === 200)
  client = new OpenAI({ baseURL: `${pod.url}/v1`, apiKey: 'none', maxRetries: 0 })
})
after(async () => {
  await pod?.stop('SIGKILL')
  await claim?.remove()
})

const messages = [{ role: 'user' as const, content: 'The old house stood by the river.' }]
const greedy = { model: modelName, messages, temperature: 0, max_completion_tokens: 24 }

test('a chat answer counts its tokens, says why it ended and names the adapter in its header', async () => {
  const { data, response } = await client.chat.completions.create(greedy).withResponse()
  assert.equal(data.object, 'chat.completion')
  assert.equal(data.model, modelName)
  assert.equal(data.choices[0]?.message.role, 'assistant')
  assert.equal(data.choices[0]?.finish_reason, 'length')
  assert.equal(data.usage?.completion_tokens, 24)
  assert.equal(data.usage?.total_tokens, 24 + data.usage!.prompt_tokens)
  assert.equal(response.headers.get('x-humanizer-adapter-digest'), adapter.digest)
})

test('a stream adds up to the whole answer, with usage in its last chunk when asked for', async () => {
  const whole = await client.chat.completions.create(greedy)
  const stream = await client.chat.completions.create({
    ...greedy,
    stream: true,
    stream_options: { include_usage: true },
  })
  let text = ''
  const finishes: (string | null)[] = []
  let usage: OpenAI.CompletionUsage | null | undefined
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    finishes.push(...chunk.choices.map((choice) => choice.finish_reason).filter((finish) => finish !== null))
    usage = chunk.usage
  }
  assert.equal(text, whole.choices[0]?.message.content)
  assert.deepEqual(finishes, ['length'])
  assert.deepEqual(usage, whole.usage)
})

test('streams of several choices keep them apart and equal to the whole answer of the same seed', async () => {
  const request = { ...greedy, temperature: 1.5, n: 3, seed: 11 }
  const whole = await client.chat.completions.create(request)
  const texts = ['', '', '']
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    for (const { index, delta } of chunk.choices) texts[index] += delta.content ?? ''
  }
  assert.deepEqual(
    texts,
    whole.choices.map(({ message }) => message.content),
  )
  assert.equal(new Set(texts).size, 3)
})

test('a seed repeats a drawn answer; another seed draws another', async () => {
  const draw = async (seed: number) =>
    (await client.chat.completions.create({ ...greedy, temperature: 1.2, top_p: 0.9, seed })).choices[0]?.message
      .content
  assert.equal(await draw(5), await draw(5))
  assert.notEqual(await draw(5), await draw(6))
})

test('a stop string ends the answer before it', async () => {
  const whole = (await client.completions.create({ model: modelName, prompt: 'The', max_tokens: 24, temperature: 0 }))
    .choices[0]!
  const stop = whole.text.slice(6, 8)
  const cut = (
    await client.completions.create({ model: modelName, prompt: 'The', max_tokens: 24, temperature: 0, stop })
  ).choices[0]!
  assert.equal(cut.text, whole.text.slice(0, whole.text.indexOf(stop)))
  assert.equal(cut.finish_reason, 'stop')
})

test('log-probabilities name the chosen token and its rivals', async () => {
  const { choices } = await client.chat.completions.create({
    ...greedy,
    max_completion_tokens: 3,
    logprobs: true,
    top_logprobs: 2,
  })
  const content = choices[0]?.logprobs?.content
  assert.equal(content?.length, 3)
  for (const { logprob, token, top_logprobs } of content!) {
    assert.equal(top_logprobs.length, 2)
    assert.equal(top_logprobs[0]?.token, token)
    assert.ok(logprob <= 0 && logprob === top_logprobs[0]?.logprob && logprob >= top_logprobs[1]!.logprob)
  }
  const completion = await client.completions.create({ model: modelName, prompt: 'The', max_tokens: 3, logprobs: 2 })
  assert.equal(completion.choices[0]?.logprobs?.tokens?.length, 3)
})

test('completions take several prompts, as text or token ids', async () => {
  const request = { model: modelName, max_tokens: 5, temperature: 0 }
  const { choices } = await client.completions.create({ ...request, prompt: ['The', 'A river'], n: 2 })
  assert.deepEqual(
    choices.map(({ index }) => index),
    [0, 1, 2, 3],
  )
  assert.equal(choices[0]?.text, choices[1]?.text)
  const tokens = await client.completions.create({
    ...request,
    prompt: [
      [5, 6, 7],
      [5, 6, 7],
    ],
  })
  assert.equal(tokens.choices[0]?.text, tokens.choices[1]?.text)
  assert.equal(tokens.usage?.prompt_tokens, 6)
})

test('the models are the release and its untouched base, which answers differently', async () => {
  const listed = (await client.models.list()).data
  assert.deepEqual(
    listed.map(({ id }) => id),
    [modelName, `${modelName}@base`],
  )
  assert.deepEqual(listed[0], await client.models.retrieve(modelName))
  assert.deepEqual((listed[0] as object as { parent: string; digest: string }).digest, adapter.digest)
  assert.deepEqual((listed[1] as object as { parent: null; root: string }).root, 'tiny-llama')
  const tuned = await pod.say('The old house')
  const base = await pod.say('The old house', { model: `${modelName}@base` })
  assert.deepEqual([tuned.digest, base.digest], [adapter.digest, 'base'])
  assert.notEqual(tuned.text, base.text)
})

test("a rewrite is the dataset's own prompt around the text", async () => {
  const ask = async (body: object) =>
    (await fetch(`${pod.url}/v1/rewrite`, { method: 'POST', body: JSON.stringify(body) })).json()
  const { format } = desired(1, adapter)
  const text = 'A short text.'
  const rewrite = (await ask({ text, max_tokens: 16 })) as {
    text: string
    model: string
    digest: string
    usage: object
  }
  const chat = await client.chat.completions.create({
    model: modelName,
    messages: [
      { role: 'system', content: format!.systemPrompt },
      { role: 'user', content: format!.userTemplate.replace('{text}', text) },
    ],
    temperature: 0,
    max_completion_tokens: 16,
  })
  assert.equal(rewrite.text, chat.choices[0]?.message.content)
  assert.deepEqual([rewrite.model, rewrite.digest, rewrite.usage], [modelName, adapter.digest, chat.usage])
})

const refused: { asking: string; ask: () => Promise<unknown>; status: number; code: string; param: string | null }[] = [
  {
    asking: 'for an unknown model',
    ask: () => client.chat.completions.create({ ...greedy, model: 'gpt' }),
    status: 404,
    code: 'model_not_found',
    param: 'model',
  },
  {
    asking: 'about an unknown model',
    ask: () => client.models.retrieve('gpt'),
    status: 404,
    code: 'model_not_found',
    param: 'model',
  },
  {
    asking: 'with too long a prompt',
    ask: () =>
      client.chat.completions.create({ ...greedy, messages: [{ role: 'user', content: 'word '.repeat(4000) }] }),
    status: 400,
    code: 'context_length_exceeded',
    param: 'messages',
  },
  {
    asking: 'for too long an answer',
    ask: () => client.chat.completions.create({ ...greedy, max_completion_tokens: 2048 }),
    status: 400,
    code: 'context_length_exceeded',
    param: 'messages',
  },
  {
    asking: 'with text for a number',
    ask: () => client.chat.completions.create({ ...greedy, temperature: 'warm' as never }),
    status: 400,
    code: 'invalid_type',
    param: 'temperature',
  },
  {
    asking: 'with a token id that does not exist',
    ask: () => client.completions.create({ model: modelName, prompt: [1_000_000] }),
    status: 400,
    code: 'invalid_value',
    param: 'prompt',
  },
  {
    asking: 'with a token id that 32 bits would make another one of',
    ask: () => client.completions.create({ model: modelName, prompt: [2 ** 32 + 5] }),
    status: 400,
    code: 'invalid_value',
    param: 'prompt',
  },
  {
    asking: 'with tools',
    ask: () => client.chat.completions.create({ ...greedy, tools: [{ type: 'function', function: { name: 'f' } }] }),
    status: 400,
    code: 'unsupported_parameter',
    param: 'tools',
  },
  {
    asking: 'at a path that does not exist',
    ask: () => client.embeddings.create({ model: modelName, input: 'x' }),
    status: 404,
    code: 'unknown_url',
    param: null,
  },
]
for (const { asking, ask, status, code, param } of refused) {
  test(`asking ${asking} gets OpenAI's error with ${status}`, async () => {
    await assert.rejects(ask, (error) => {
      assert.ok(error instanceof APIError, String(error))
      assert.deepEqual([error.status, error.code, error.param], [status, code, param])
      return true
    })
  })
}

const raw: {
  sending: string
  method?: string
  path?: string
  body?: string | Uint8Array<ArrayBuffer>
  status: number
}[] = [
  { sending: 'malformed JSON', body: '{"model":', status: 400 },
  { sending: 'bytes that are no UTF-8', body: Uint8Array.of(0x22, 0xff, 0x22), status: 400 },
  { sending: 'a body beyond the limit', body: `{"x":"${'x'.repeat(9 << 20)}"}`, status: 413 },
  { sending: 'a GET where a POST belongs', method: 'GET', status: 405 },
  { sending: 'a path with broken percent-encoding', method: 'GET', path: '/v1/models/%ZZ', status: 400 },
]
for (const { sending, method = 'POST', path = '/v1/chat/completions', body, status } of raw) {
  test(`${sending} is answered with ${status} and OpenAI's error object`, async () => {
    const answer = await fetch(pod.url + path, { method, ...(body !== undefined && { body }) })
    const { error } = (await answer.json()) as { error: { message: string; type: string } }
    assert.equal(answer.status, status)
    assert.deepEqual(Object.keys(error).sort(), ['code', 'message', 'param', 'type'])
    assert.equal(error.type, 'invalid_request_error')
  })
}

test('a client that leaves frees its slot', async () => {
  const leaving = new AbortController()
  const stream = await client.chat.completions.create(
    { ...greedy, max_completion_tokens: 1800, stream: true },
    { signal: leaving.signal },
  )
  for await (const _ of stream) break
  leaving.abort()
  const state = await pod.until('idle', (_, { activeRequests }) => activeRequests === 0)
  assert.equal(state.digest, adapter.digest)
})

test('a full queue answers 429 with Retry-After, and every request that was taken is answered', async () => {
  const ask = () =>
    fetch(`${pod.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify({ ...greedy, n: 8, max_completion_tokens: 40 }),
    })
  const answers = await Promise.all(Array.from({ length: 14 }, ask))
  const statuses = answers.map(({ status }) => status)
  assert.deepEqual(
    [statuses.filter((status) => status === 200).length, statuses.filter((status) => status === 429).length],
    [10, 4],
  )
  const refusal = answers.find(({ status }) => status === 429)!
  assert.equal(refusal.headers.get('retry-after'), '1')
  assert.equal(((await refusal.json()) as { error: { code: string } }).error.code, 'rate_limit_exceeded')
})

test('what is measured is told in the format of Prometheus', async () => {
  const text = await (await fetch(`${pod.url}/metrics`)).text()
  assert.match(text, /^humanizer_serve_requests_total\{route="\/v1\/chat\/completions",code="200"\} \d+$/m)
  assert.match(text, /^humanizer_serve_tokens_total\{kind="completion"\} \d+$/m)
  assert.match(text, /^humanizer_serve_time_to_first_token_seconds_count [1-9]/m)
  assert.match(text, /^humanizer_serve_switch_seconds_count\{outcome="ok"\} 1$/m)
  assert.ok(text.includes(`humanizer_serve_loaded_info{digest="${adapter.digest}"} 1`))
})
