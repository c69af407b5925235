import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { test } from 'node:test'
import { settingsFrom } from './settings.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
}) as string

const files: Record<string, string> = { '/key': pem, '/rsa': rsa, '/empty': '' }
const readFile = (path: string): string => {
  if (path in files) return files[path]!
  throw new Error(`ENOENT ${path}`)
}
const enough = {
  POD_NAMESPACE: 'system',
  POD_NAME: 'operator-0',
  TRAINER_IMAGE: 'trainer:1',
  SIGNING_KEY_FILE: '/key',
}

test('what is not set has its documented default, and the public key comes from the private one', () => {
  const settings = settingsFrom(enough, readFile)
  assert.equal(settings.leaseDurationSeconds, 15)
  assert.equal(settings.renewDeadlineSeconds, 10)
  assert.equal(settings.retryPeriodSeconds, 2)
  assert.deepEqual(settings.watchNamespaces, [])
  assert.deepEqual(settings.storage, { className: '', size: '50Gi', accessMode: 'ReadWriteMany' })
  assert.equal(settings.publicKeyPem, publicKey.export({ type: 'spki', format: 'pem' }))
  assert.ok(!('faultAfterMutation' in settings))
  assert.ok(Object.isFrozen(settings))
})

test('a list of namespaces is split at commas', () => {
  assert.deepEqual(settingsFrom({ ...enough, WATCH_NAMESPACES: 'a,b' }, readFile).watchNamespaces, ['a', 'b'])
})

const refused: readonly { readonly a_setting: string; readonly env: Record<string, string>; readonly says: RegExp }[] =
  [
    { a_setting: 'that is missing', env: { TRAINER_IMAGE: '' }, says: /TRAINER_IMAGE: not set/ },
    { a_setting: 'that is no number', env: { WORKERS: 'many' }, says: /WORKERS: wanted an integer >= 1, got many/ },
    { a_setting: 'that is too small', env: { WORKERS: '0' }, says: /WORKERS: wanted an integer >= 1, got 0/ },
    {
      a_setting: 'that is none of the choices',
      env: { STORAGE_ACCESS_MODE: 'ReadWriteOncePod' },
      says: /STORAGE_ACCESS_MODE: wanted one of ReadWriteMany, ReadWriteOnce, got ReadWriteOncePod/,
    },
    { a_setting: 'whose file is absent', env: { SIGNING_KEY_FILE: '/absent' }, says: /SIGNING_KEY_FILE: .*ENOENT/ },
    {
      a_setting: 'whose file is empty',
      env: { SIGNING_KEY_FILE: '/empty' },
      says: /SIGNING_KEY_FILE: wanted an Ed25519/,
    },
    {
      a_setting: 'whose key is of another type',
      env: { SIGNING_KEY_FILE: '/rsa' },
      says: /Ed25519 key in \/rsa, got rsa/,
    },
    {
      a_setting: 'that would let a deposed leader write',
      env: { API_TIMEOUT_MS: '5000' },
      says: /RENEW_DEADLINE_SECONDS \+ API_TIMEOUT_MS: wanted less than LEASE_DURATION_SECONDS \(15 s\), got 10 s \+ 5000 ms/,
    },
    {
      a_setting: 'that leaves no second try',
      env: { RETRY_PERIOD_SECONDS: '10' },
      says: /RETRY_PERIOD_SECONDS: wanted less than 10, got 10/,
    },
  ]
for (const { a_setting, env, says } of refused)
  test(`a setting ${a_setting} is refused by name`, () => {
    assert.throws(() => settingsFrom({ ...enough, ...env }, readFile), says)
  })

test('everything that is wrong is said at once', () => {
  assert.throws(() => settingsFrom({}, readFile), /POD_NAMESPACE.*POD_NAME.*TRAINER_IMAGE/s)
})
