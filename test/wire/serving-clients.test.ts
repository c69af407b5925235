/** The clients that people have, against the real server: OpenAI's for Node and for Python, and curl. All read the same answers. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import OpenAI from 'openai'
import { type Checkpoint, Claim, modelName, ServingPod } from './serving-pod.ts'

const run = promisify(execFile)
const messages = [{ role: 'user' as const, content: 'The old house stood by the river.' }]
const greedy = { model: modelName, temperature: 0 }
const chatBody = JSON.stringify({ ...greedy, messages, max_completion_tokens: 12 })

let claim: Claim
let pod: ServingPod
let adapter: Checkpoint
/** What OpenAI's client for Node reads. */
let chat: string
let completion: string

before(async () => {
  claim = await Claim.create()
  adapter = await claim.checkpoint('one', 1)
  await claim.want(1, adapter)
  pod = await ServingPod.start(claim)
  await pod.until('ready', (status) => status === 200)
  const client = new OpenAI({ baseURL: `${pod.url}/v1`, apiKey: 'none', maxRetries: 0 })
  chat = (await client.chat.completions.create(JSON.parse(chatBody))).choices[0]?.message.content ?? ''
  completion = (await client.completions.create({ ...greedy, prompt: 'The', max_tokens: 6 })).choices[0]?.text ?? ''
  assert.ok(chat.length > 0 && completion.length > 0)
})
after(async () => {
  await pod?.stop('SIGKILL')
  await claim?.remove()
})

test("OpenAI's client for Python reads models, answers, streams and errors", async (t) => {
  const folder = join(import.meta.dirname, 'clients')
  const environment = join(import.meta.dirname, '../bench/peer/environment.sh')
  const { stdout: python } = await run('bash', [environment, join(folder, 'requirements.txt')], { timeout: 180_000 })
  const { stdout } = await run(python.trim(), [join(folder, 'ask.py'), `${pod.url}/v1`, modelName])
  const { version, ...read } = JSON.parse(stdout)
  t.diagnostic(`openai ${version}`)
  assert.deepEqual(read, {
    digest: adapter.digest,
    models: [modelName, `${modelName}@base`],
    model: modelName,
    chat,
    finish: 'length',
    usage: 12,
    stream: chat,
    streamUsage: 12,
    completion,
    completionStream: completion,
    unknownModel: ['NotFoundError', 404, 'model_not_found', 'model'],
    tooWarm: ['BadRequestError', 400, 'invalid_value', 'temperature'],
    tooLong: ['BadRequestError', 400, 'context_length_exceeded', 'prompt'],
  })
})

/** Body, HTTP status and, after --fail-with-body, curl's exit code. */
async function curl(path: string, ...options: string[]): Promise<{ body: string; status: number; exit: number }> {
  const command = ['-sS', '--fail-with-body', '-w', '\n%{http_code}', ...options, pod.url + path]
  const { stdout, code = 0 } = (await run('curl', command).catch(
    (error: { stdout: string; code: number }) => error,
  )) as {
    stdout: string
    code?: number
  }
  const end = stdout.lastIndexOf('\n')
  return { body: stdout.slice(0, end), status: Number(stdout.slice(end + 1)), exit: code }
}

test('curl reads models, a chat, a completion, and a stream line by line', async () => {
  const models = await curl('/v1/models')
  assert.deepEqual(
    JSON.parse(models.body).data.map(({ id }: { id: string }) => id),
    [modelName, `${modelName}@base`],
  )
  const json = ['-H', 'content-type: application/json', '-d']
  const whole = await curl('/v1/chat/completions', ...json, chatBody)
  assert.deepEqual([whole.status, whole.exit], [200, 0])
  assert.equal(JSON.parse(whole.body).choices[0].message.content, chat)
  // Without a header curl says that it sends a form.
  const bare = await curl('/v1/completions', '-d', JSON.stringify({ ...greedy, prompt: 'The', max_tokens: 6 }))
  assert.equal(JSON.parse(bare.body).choices[0].text, completion)
  const stream = await curl('/v1/chat/completions', '-N', ...json, chatBody.replace('{', '{"stream":true,'))
  const events = stream.body.split('\n').filter((line) => line !== '')
  assert.equal(events.at(-1), 'data: [DONE]')
  const parts = events
    .slice(0, -1)
    .map((line) => JSON.parse(line.replace(/^data: /, '')).choices[0].delta.content ?? '')
  assert.equal(parts.join(''), chat)
})

test('curl tells errors by its exit code, with their words in the body', async () => {
  const cases = [
    { path: '/v1/models/gpt', status: 404, code: 'model_not_found' },
    { path: '/v1/nothing', status: 404, code: 'unknown_url' },
    { path: '/v1/chat/completions', options: ['-d', '{"model":'], status: 400, code: 'invalid_json' },
    { path: '/v1/chat/completions', options: ['-X', 'PUT'], status: 405, code: 'method_not_allowed' },
    {
      path: '/v1/completions',
      options: ['-d', JSON.stringify({ model: modelName, prompt: 'x', temperature: 'warm' })],
      status: 400,
      code: 'invalid_type',
    },
  ]
  for (const { path, options = [], status, code } of cases) {
    const answer = await curl(path, ...options)
    assert.deepEqual([answer.status, answer.exit, JSON.parse(answer.body).error.code], [status, 22, code], path)
  }
})
