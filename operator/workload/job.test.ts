import assert from 'node:assert/strict'
import { test } from 'node:test'
import { trainChildren } from '../run/train-job.ts'
import { run } from '../run/world.ts'
import { reclaimOf } from './reclaim.ts'

const settings = { trainerImage: 'trainer:1', trainerImagePullPolicy: 'IfNotPresent', publicKeyPem: 'PEM' }
const plan = { microBatchSize: 4, gradientAccumulation: 4 }
const queue = 'kueue.x-k8s.io/queue-name'
const priority = 'kueue.x-k8s.io/priority-class'

interface Job {
  metadata: { labels: Record<string, string> }
  spec: { suspend?: boolean; template: { metadata: { labels: Record<string, string> } } }
}

const cases: {
  labels: Record<string, string>
  pod: Record<string, string>
  job: Record<string, string>
  pods: Record<string, string>
  suspend: true | undefined
}[] = [
  { labels: {}, pod: {}, job: {}, pods: {}, suspend: undefined },
  { labels: { team: 'a' }, pod: { cost: 'b' }, job: {}, pods: { cost: 'b' }, suspend: undefined },
  { labels: { [queue]: 'gpus' }, pod: {}, job: { [queue]: 'gpus' }, pods: { [queue]: 'gpus' }, suspend: true },
  { labels: {}, pod: { [queue]: 'gpus' }, job: { [queue]: 'gpus' }, pods: { [queue]: 'gpus' }, suspend: true },
  { labels: { [queue]: 'a' }, pod: { [queue]: 'b' }, job: { [queue]: 'b' }, pods: { [queue]: 'b' }, suspend: true },
  {
    labels: { [priority]: 'low' },
    pod: {},
    job: { [priority]: 'low' },
    pods: { [priority]: 'low' },
    suspend: undefined,
  },
  {
    labels: { [priority]: 'low' },
    pod: { [queue]: 'gpus' },
    job: { [priority]: 'low', [queue]: 'gpus' },
    pods: { [priority]: 'low', [queue]: 'gpus' },
    suspend: true,
  },
]
for (const { labels, pod, job: onJob, pods, suspend } of cases)
  test(`a run labelled ${JSON.stringify(labels)} with pods labelled ${JSON.stringify(pod)} gets a Job ${suspend ? 'for the queue' : 'of its own'}`, () => {
    const given = run({ pod: { labels: pod } })
    const owner = { ...given, metadata: { ...given.metadata, labels } }
    const claim = { name: 'humanizer', singleNode: false }
    const [, made] = trainChildren(owner, 1, plan, claim, settings, reclaimOf(owner))
    const { metadata, spec } = made as unknown as Job
    const foreign = (all: Record<string, string>) =>
      Object.fromEntries(Object.entries(all).filter(([key]) => !/humanizer|managed-by/.test(key)))
    assert.deepEqual([foreign(metadata.labels), foreign(spec.template.metadata.labels)], [onJob, pods])
    assert.equal(spec.suspend, suspend)
  })
