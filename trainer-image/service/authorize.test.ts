import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { status } from '@grpc/grpc-js'
import { SignJWT, UnsecuredJWT } from 'jose'
import { JobFailure } from '../job/failure.ts'
import { authorizer } from './authorize.ts'
import { CallRefused, callStatusOf } from './errors.ts'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
const method = '/humanizer.trainer.v1.ServingService/Activate'
const authorize = await authorizer(pem, { podUid: 'pod', ownerUid: 'owner', attempt: 1, generation: () => 5 })

const now = () => Math.floor(Date.now() / 1000)
const good = { aud: 'pod', sub: 'owner', attempt: 1, generation: 5, method, exp: now() + 30 }
const sign = (claims: object, key = privateKey) =>
  new SignJWT({ ...claims }).setProtectedHeader({ alg: 'EdDSA' }).sign(key)
const { exp: _, ...endless } = good

const allowed = [
  { token: 'for this pod and generation', claims: good },
  { token: 'for a newer generation', claims: { ...good, generation: 6 } },
  { token: 'of a clock three seconds behind', claims: { ...good, exp: now() - 3 } },
]
for (const { token, claims } of allowed)
  test(`a token ${token} is allowed`, async () =>
    assert.deepEqual(await authorize(await sign(claims), method), { generation: claims.generation }))

const refused: { token: string; make: () => Promise<string> | string | undefined; words: RegExp }[] = [
  { token: 'that is absent', make: () => undefined, words: /no "authorization: Bearer" token/ },
  { token: 'that is no JWT', make: () => 'abc', words: /token refused/ },
  { token: 'without a signature', make: () => new UnsecuredJWT(good).encode(), words: /token refused/ },
  {
    token: 'signed by another key',
    make: () => sign(good, generateKeyPairSync('ed25519').privateKey),
    words: /signature/,
  },
  { token: 'that expired', make: () => sign({ ...good, exp: now() - 30 }), words: /exp/ },
  { token: 'that never expires', make: () => sign(endless), words: /exp/ },
  {
    token: 'that lives for an hour',
    make: () => sign({ ...good, exp: now() + 3600 }),
    words: /exp is (3599|3600) s ahead; at most 60/,
  },
  { token: 'for another pod', make: () => sign({ ...good, aud: 'other' }), words: /aud/ },
  { token: 'for another owner', make: () => sign({ ...good, sub: 'other' }), words: /sub/ },
  {
    token: 'for another attempt',
    make: () => sign({ ...good, attempt: 2 }),
    words: /attempt is 2; this pod is attempt 1/,
  },
  {
    token: 'for another method',
    make: () => sign({ ...good, method: '/x/GetStatus' }),
    words: /method is \/x\/GetStatus/,
  },
  {
    token: 'with a generation that is no number',
    make: () => sign({ ...good, generation: 'x' }),
    words: /generation is x/,
  },
]
for (const { token, make, words } of refused)
  test(`a token ${token} is refused as UNAUTHENTICATED`, async () => {
    await assert.rejects(authorize(await make(), method), (error) => {
      assert.ok(error instanceof CallRefused)
      assert.equal(error.status, status.UNAUTHENTICATED)
      return words.test(error.message)
    })
  })

test('a token for a past generation is refused as FAILED_PRECONDITION', async () => {
  await assert.rejects(authorize(await sign({ ...good, generation: 4 }), method), {
    status: status.FAILED_PRECONDITION,
    message: /generation is 4; this pod has 5/,
  })
})

test('errors become statuses in one place', () => {
  assert.deepEqual(callStatusOf(new CallRefused(status.NOT_FOUND, 'gone')), { code: status.NOT_FOUND, details: 'gone' })
  assert.equal(callStatusOf(new JobFailure('SourceInvalid', 'x')).code, status.DATA_LOSS)
  assert.equal(callStatusOf(new TypeError('bug')).code, status.INTERNAL)
})
