import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PushConfig } from '#proto/humanizer/trainer/v1/push.ts'
import { reclaimOf } from '../workload/reclaim.ts'
import type { Adapter } from './adapter.ts'
import { digestOf, release } from './objects.ts'
import { destinationOf, pushChildren, pushJobName } from './push-job.ts'
import { World } from './world.ts'

// biome-ignore lint/suspicious/noExplicitAny: a manifest is read here as a reader of YAML would
type Manifest = any

const digest = digestOf('b')
const adapter: Adapter = { name: 'prose/checkpoint-24', digest, generation: 0, path: 'runs/x/checkpoint-24' }

function children(push: Parameters<typeof pushChildren>[1]): { config: PushConfig; job: Manifest } {
  const object = release({ push })
  const claim = { name: 'humanizer', singleNode: false }
  const reclaim = reclaimOf(object as Parameters<typeof reclaimOf>[0])
  const made = pushChildren(object, push, { adapter, attempt: 2, claim }, new World().settings, reclaim) as Manifest[]
  return { config: PushConfig.fromJSON(JSON.parse(made[0].data['config.json'])), job: made[1] }
}

test('the Job mounts the Secret and its configuration names only the file', () => {
  const secretRef = { name: 'ghcr', key: '.dockerconfigjson' }
  const registry = { repository: 'ghcr.io/team/writer', plainHttp: false, secretRef }
  const { config, job } = children({ artifact: 'Merged', registry })
  assert.equal(job.metadata.name, 'writer-push-bbbbbbbb-2')
  const { spec } = job.spec.template
  assert.deepEqual(spec.containers[0].command.slice(-1), ['upload'])
  const { secret } = spec.volumes.find(({ secret }: Manifest) => secret)
  assert.deepEqual([secret.secretName, secret.items], ['ghcr', [{ key: '.dockerconfigjson', path: 'token' }]])
  assert.deepEqual(
    [config.artifact, config.digest, config.attempt, config.registry],
    [
      'Merged',
      digest,
      2,
      { repository: 'ghcr.io/team/writer', plainHttp: false, authFile: '/etc/humanizer-secrets/push/token' },
    ],
  )
})

test('a registry that asks for nothing needs no Secret', () => {
  const { config, job } = children({ artifact: 'Adapter', registry: { repository: 'zot:5000/w', plainHttp: true } })
  assert.deepEqual(config.registry, { repository: 'zot:5000/w', plainHttp: true, authFile: '' })
  assert.ok(!job.spec.template.spec.volumes.some(({ secret }: Manifest) => secret))
})

test('for S3 the Job gets all keys of the Secret, and the place', () => {
  const s3 = { bucket: 'models', region: 'eu-central-1', secretRef: { name: 'aws' } }
  const { config, job } = children({ artifact: 'AdapterGGUF', s3 })
  const { spec } = job.spec.template
  const { secret } = spec.volumes.find(({ secret }: Manifest) => secret)
  assert.deepEqual([secret.secretName, secret.items], ['aws', undefined])
  assert.deepEqual(config.s3, {
    bucket: 'models',
    prefix: '',
    region: 'eu-central-1',
    endpoint: '',
    credentialsFolder: '/etc/humanizer-secrets/push',
  })
  assert.equal(config.registry, undefined)
})

const destinations = [
  { s3: { bucket: 'models' }, named: 's3://models' },
  { s3: { bucket: 'models', prefix: 'team/writer' }, named: 's3://models/team/writer' },
  { s3: { bucket: 'models', prefix: 'w', endpoint: 'http://minio:9000' }, named: 'http://minio:9000/models/w' },
]
for (const { s3, named } of destinations)
  test(`a destination is named ${named}`, () => {
    const place = { region: 'us-east-1', secretRef: { name: 'aws' }, ...s3 }
    assert.equal(destinationOf({ artifact: 'Adapter', s3: place }), named)
  })

test('its name fits however long the release’s is', () => {
  assert.ok(pushJobName('x'.repeat(40), digest, 99_999).length <= 63)
})
