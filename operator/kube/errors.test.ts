import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errorFrom } from './errors.ts'

const answers: readonly { readonly code: number; readonly body: string; readonly want: string }[] = [
  { code: 400, body: '{"message":"bad"}', want: 'Invalid' },
  { code: 401, body: '{"message":"who?"}', want: 'Forbidden' },
  { code: 403, body: '{"message":"no"}', want: 'Forbidden' },
  { code: 404, body: '{"reason":"NotFound"}', want: 'NotFound' },
  { code: 405, body: '', want: 'ApiError' },
  { code: 409, body: '{"reason":"AlreadyExists"}', want: 'AlreadyExists' },
  { code: 409, body: '{"reason":"Conflict"}', want: 'Conflict' },
  { code: 410, body: '{"reason":"Expired"}', want: 'Gone' },
  { code: 422, body: '{"reason":"Invalid"}', want: 'Invalid' },
  { code: 429, body: '', want: 'Unavailable' },
  { code: 500, body: '{"reason":"InternalError"}', want: 'Unavailable' },
  {
    code: 500,
    body: '{"message":"failed to create typed patch object (x): .spec.y: field not declared in schema"}',
    want: 'Invalid',
  },
  { code: 503, body: '<html>a proxy</html>', want: 'Unavailable' },
]
for (const { code, body, want } of answers)
  test(`an answer ${code} ${body} is ${want}`, () => {
    const error = errorFrom(code, body, 'GET /x')
    assert.equal(error.name, want)
    assert.equal(error.code, code)
    assert.match(error.message, /^GET \/x: /)
  })
