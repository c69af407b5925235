import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ApiError } from './errors.ts'
import { parseChat, parseCompletion, parseRewrite } from './request.ts'

const messages = [{ role: 'user', content: 'hi' }]
const chat = (fields: object) => () => parseChat({ model: 'm', messages, ...fields })
const completion = (fields: object) => () => parseCompletion({ model: 'm', prompt: 'p', ...fields })

const refused: { a_request: string; parse: () => unknown; param: string | null; code: string }[] = [
  { a_request: 'that is no object', parse: () => parseChat([1]), param: null, code: 'invalid_value' },
  {
    a_request: 'without a model',
    parse: () => parseChat({ messages }),
    param: 'model',
    code: 'missing_required_parameter',
  },
  {
    a_request: 'without messages',
    parse: () => parseChat({ model: 'm' }),
    param: 'messages',
    code: 'missing_required_parameter',
  },
  { a_request: 'with no message', parse: chat({ messages: [] }), param: 'messages', code: 'invalid_value' },
  { a_request: 'with text for messages', parse: chat({ messages: 'hi' }), param: 'messages', code: 'invalid_type' },
  {
    a_request: 'with an unknown role',
    parse: chat({ messages: [{ role: 'tool', content: '' }] }),
    param: 'messages[0].role',
    code: 'invalid_value',
  },
  {
    a_request: 'with a message without content',
    parse: chat({ messages: [{ role: 'user' }] }),
    param: 'messages[0].content',
    code: 'missing_required_parameter',
  },
  {
    a_request: 'with an image',
    parse: chat({ messages: [{ role: 'user', content: [{ type: 'image_url' }] }] }),
    param: 'messages[0].content',
    code: 'invalid_value',
  },
  {
    a_request: 'with text for a number',
    parse: chat({ temperature: 'hot' }),
    param: 'temperature',
    code: 'invalid_type',
  },
  { a_request: 'too hot', parse: chat({ temperature: 2.1 }), param: 'temperature', code: 'invalid_value' },
  { a_request: 'with half a token', parse: chat({ max_tokens: 1.5 }), param: 'max_tokens', code: 'invalid_type' },
  {
    a_request: 'for no tokens',
    parse: chat({ max_completion_tokens: 0 }),
    param: 'max_completion_tokens',
    code: 'invalid_value',
  },
  { a_request: 'for too many choices', parse: chat({ n: 17 }), param: 'n', code: 'invalid_value' },
  {
    a_request: 'with too many stops',
    parse: chat({ stop: ['a', 'b', 'c', 'd', 'e'] }),
    param: 'stop',
    code: 'invalid_value',
  },
  { a_request: 'with a number for a stop', parse: chat({ stop: [1] }), param: 'stop', code: 'invalid_type' },
  {
    a_request: 'with top_logprobs alone',
    parse: chat({ top_logprobs: 2 }),
    param: 'top_logprobs',
    code: 'invalid_value',
  },
  {
    a_request: 'with stream_options but no stream',
    parse: chat({ stream_options: {} }),
    param: 'stream_options',
    code: 'invalid_value',
  },
  { a_request: 'with tools', parse: chat({ tools: [{}] }), param: 'tools', code: 'unsupported_parameter' },
  {
    a_request: 'for JSON output',
    parse: chat({ response_format: { type: 'json_object' } }),
    param: 'response_format',
    code: 'unsupported_parameter',
  },
  {
    a_request: 'with an unknown field',
    parse: chat({ temprature: 1 }),
    param: 'temprature',
    code: 'unknown_parameter',
  },
  { a_request: 'for a mixed prompt', parse: completion({ prompt: ['a', 1] }), param: 'prompt', code: 'invalid_type' },
  { a_request: 'for an echo', parse: completion({ echo: true }), param: 'echo', code: 'unsupported_parameter' },
  {
    a_request: 'for too many answers',
    parse: completion({ prompt: ['a', 'b', 'c'], n: 6 }),
    param: 'prompt',
    code: 'invalid_value',
  },
  { a_request: 'to rewrite nothing', parse: () => parseRewrite({ text: ' ' }), param: 'text', code: 'invalid_value' },
]
for (const { a_request, parse, param, code } of refused) {
  test(`a request ${a_request} is refused, naming ${param || 'the body'}`, () => {
    assert.throws(parse, (error) => {
      assert.ok(error instanceof ApiError)
      assert.deepEqual([error.status, error.param, error.code], [400, param, code])
      return true
    })
  })
}

test('a chat request has OpenAI defaults', () => {
  assert.deepEqual(parseChat({ model: 'm', messages, user: 'me', tools: [], temperature: null }), {
    model: 'm',
    messages,
    maxTokens: undefined,
    n: 1,
    seed: undefined,
    sampling: { temperature: 1, topP: 1, presencePenalty: 0, frequencyPenalty: 0, topLogprobs: undefined },
    stops: [],
    stream: false,
    includeUsage: false,
  })
})

test('max_completion_tokens wins over the older max_tokens', () => {
  assert.equal(chat({ max_tokens: 5, max_completion_tokens: 6 })().maxTokens, 6)
  assert.equal(chat({ max_tokens: 5 })().maxTokens, 5)
})

test('text parts are joined and developer means system', () => {
  const content = [
    { type: 'text', text: 'a' },
    { type: 'text', text: 'b' },
  ]
  assert.deepEqual(chat({ messages: [{ role: 'developer', content }] })().messages, [{ role: 'system', content: 'ab' }])
})

test('prompts may be a text, texts, tokens or lists of tokens', () => {
  const prompts = (prompt: unknown) => completion({ prompt })().prompts
  assert.deepEqual(prompts('a'), ['a'])
  assert.deepEqual(prompts(['a', 'b']), ['a', 'b'])
  assert.deepEqual(prompts([1, 2]), [[1, 2]])
  assert.deepEqual(prompts([[1], [2]]), [[1], [2]])
})

test('a rewrite is greedy unless told otherwise', () => {
  assert.equal(parseRewrite({ text: 't' }).sampling.temperature, 0)
  assert.equal(parseRewrite({ text: 't', temperature: 0.7 }).sampling.temperature, 0.7)
})
