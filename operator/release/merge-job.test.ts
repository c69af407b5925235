import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import { reclaimOf } from '../workload/reclaim.ts'
import type { Adapter } from './adapter.ts'
import { mergeChildren, mergeJobName } from './merge-job.ts'
import { digestOf, release } from './objects.ts'
import { World } from './world.ts'

// biome-ignore lint/suspicious/noExplicitAny: a manifest is read here as a reader of YAML would
type Manifest = any

const digest = digestOf('b')
const model = { path: '/models-source/m', claimName: 'bases', digest: digestOf('e'), name: 'm' }
const adapter: Adapter = { name: 'prose/checkpoint-24', digest, generation: 0, path: 'runs/x/checkpoint-24', model }

test('the Job has the base’s own claim beside the release’s, no device and no retries of its own', () => {
  const object = release({ pod: { resources: { limits: { 'nvidia.com/gpu': 1, memory: '8Gi' } } } })
  const claim = { name: 'humanizer', singleNode: true }
  const reclaim = reclaimOf(object as Parameters<typeof reclaimOf>[0])
  const [config, job] = mergeChildren(
    object,
    { adapter, attempt: 3, claim },
    new World().settings,
    reclaim,
  ) as Manifest[]
  assert.equal(job.metadata.name, 'writer-merge-bbbbbbbb-3')
  assert.equal(job.spec.backoffLimit, 0)
  const { spec } = job.spec.template
  assert.deepEqual(spec.containers[0].command.slice(-1), ['merge'])
  assert.deepEqual(spec.containers[0].resources, { limits: { memory: '8Gi' } })
  const claims = spec.volumes.flatMap((volume: Manifest) => volume.persistentVolumeClaim?.claimName ?? [])
  assert.deepEqual(claims, ['humanizer', 'bases'])
  const told = MergeConfig.fromJSON(JSON.parse(config.data['config.json']))
  assert.deepEqual(
    [told.attempt, told.digest, told.sourcePath, told.model?.path, told.owner?.uid],
    [3, digest, 'runs/x/checkpoint-24', '/models-source/m', 'release-uid'],
  )
  assert.equal(config.immutable, true)
})

test('its name fits however long the release’s is', () => {
  assert.ok(mergeJobName('x'.repeat(40), digest, 99_999).length <= 63)
})
