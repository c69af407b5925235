import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AttemptState, attemptState, type Job, remainsOf } from './attempt-state.ts'
import type { Pod } from './pod-state.ts'

const now = new Date('2026-01-01T00:10:00Z')
const who = { jobName: 'prose-train-2', attempt: 2, ownerUid: 'run-uid' }

const job = (status: Job['status'] = {}, spec: Job['spec'] = {}): Job => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: who.jobName, uid: 'job-uid' },
  spec,
  status,
})
const failedJob = job({ conditions: [{ type: 'Failed', status: 'True' }] })
const completeJob = job({ conditions: [{ type: 'Complete', status: 'True' }] })

let pods = 0
const pod = (status: Pod['status'], metadata: Partial<Pod['metadata']> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `pod-${++pods}`,
    uid: `pod-uid-${pods}`,
    creationTimestamp: '2026-01-01T00:00:00Z',
    labels: { 'batch.kubernetes.io/job-name': who.jobName, 'humanizer.dev/attempt': '2' },
    ...metadata,
  },
  status: status!,
})
const result = (reason: string, ownerUid = 'run-uid', attempt = 2): string =>
  JSON.stringify({ ownerUid, attempt, reason, message: 'words', run: {} })
const exited = (exitCode: number, message = '', more: { reason?: string } = {}, status: Pod['status'] = {}): Pod =>
  pod({
    phase: exitCode === 0 ? 'Succeeded' : 'Failed',
    containerStatuses: [{ state: { terminated: { exitCode, message, ...more } } }],
    ...status,
  })
const unschedulable = (message: string): Pod =>
  pod({
    phase: 'Pending',
    conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message }],
  })
const disruptionTarget = { conditions: [{ type: 'DisruptionTarget', status: 'True', reason: 'EvictionByEvictionAPI' }] }
const running = pod({
  phase: 'Running',
  podIP: '10.0.0.1',
  containerStatuses: [{ ready: true, state: { running: { startedAt: '2026-01-01T00:01:00Z' } } }],
})
const scheduled = { type: 'PodScheduled', status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z' }
const waiting = (reason: string, message: string): Pod =>
  pod({ phase: 'Pending', conditions: [scheduled], containerStatuses: [{ state: { waiting: { reason, message } } }] })

const say = (state: AttemptState): string => {
  if (state.kind === 'pending') return `pending ${state.reason}`
  if (state.kind !== 'ended') return state.kind
  return state.ending.kind === 'failed' ? `failed ${state.ending.reason}` : state.ending.kind
}

const agent = { name: 'agent', ready: true, state: { running: { startedAt: '2026-01-01T00:00:30Z' } } }
const beside = (container: object): Pod['status'] => ({
  containerStatuses: [agent, { name: 'humanizer', ...container }],
})

const cases: { an_attempt: string; job?: Job; pods?: Pod[]; is: string }[] = [
  { an_attempt: 'without Job or pod', is: 'absent' },
  {
    an_attempt: 'that has finished beside an agent that never ends',
    job: job(),
    pods: [
      exited(
        0,
        '',
        {},
        { phase: 'Running', ...beside({ state: { terminated: { exitCode: 0, message: result('Completed') } } }) },
      ),
    ],
    is: 'completed',
  },
  {
    an_attempt: 'whose container waits for its image beside an agent that runs',
    job: job(),
    pods: [
      pod({
        phase: 'Pending',
        conditions: [scheduled],
        ...beside({ state: { waiting: { reason: 'ImagePullBackOff' } } }),
      }),
    ],
    is: 'pending ImageUnavailable',
  },
  { an_attempt: 'whose Job is gone and whose pod still runs', pods: [running], is: 'leaving' },
  {
    an_attempt: 'whose Job is being deleted',
    job: { ...job(), metadata: { name: who.jobName, deletionTimestamp: 'x' } },
    is: 'leaving',
  },
  { an_attempt: 'whose Job has made no pod yet', job: job(), is: 'pending Scheduling' },
  { an_attempt: 'whose Job is held back by a queue', job: job({}, { suspend: true }), is: 'pending Queued' },
  {
    an_attempt: 'whose pod has no node',
    job: job(),
    pods: [unschedulable('0/1 nodes are available: insufficient cpu')],
    is: 'pending Scheduling',
  },
  {
    an_attempt: 'whose volume is on another node',
    job: job(),
    pods: [unschedulable("0/2 nodes are available: 2 node(s) didn't match pod affinity rules")],
    is: 'pending StorageNotShared',
  },
  {
    an_attempt: 'that mounts a claim which is not there',
    job: job(),
    pods: [unschedulable('0/1 nodes are available: persistentvolumeclaim "shelf" not found. not found')],
    is: 'pending ClaimNotFound',
  },
  {
    an_attempt: 'whose image cannot be pulled',
    job: job(),
    pods: [waiting('ImagePullBackOff', 'not found')],
    is: 'pending ImageUnavailable',
  },
  {
    an_attempt: 'whose container cannot be made',
    job: job(),
    pods: [waiting('CreateContainerConfigError', 'secret "hub" not found')],
    is: 'pending ContainerNotCreated',
  },
  {
    an_attempt: 'whose Secret is not there',
    job: job(),
    pods: [
      {
        ...pod({ phase: 'Pending', conditions: [scheduled, { type: 'PodReadyToStartContainers', status: 'False' }] }),
        spec: { volumes: [{ secret: { secretName: 'hub', items: [{ key: 'token' }] } }] },
      },
    ],
    is: 'pending SecretMissing',
  },
  { an_attempt: 'whose pod runs', job: job(), pods: [running], is: 'running' },
  {
    an_attempt: 'whose pod told that it completed',
    job: job(),
    pods: [exited(0, result('Completed'))],
    is: 'completed',
  },
  { an_attempt: 'that completed, whatever became of its Job', pods: [exited(0, result('Completed'))], is: 'completed' },
  {
    an_attempt: 'that told the result of another run',
    job: completeJob,
    pods: [exited(0, result('Completed', 'other'))],
    is: 'failed ResultMissing',
  },
  {
    an_attempt: 'that told the result of another attempt',
    job: completeJob,
    pods: [exited(0, result('Completed', 'run-uid', 1))],
    is: 'failed ResultMissing',
  },
  {
    an_attempt: 'that says completed and exits with 1',
    job: failedJob,
    pods: [exited(1, result('Completed'))],
    is: 'failed Internal',
  },
  {
    an_attempt: 'whose Job is Complete without a word',
    job: completeJob,
    pods: [exited(0)],
    is: 'failed ResultMissing',
  },
  { an_attempt: 'whose Job is Complete and whose pod is gone', job: completeJob, is: 'disrupted' },
  {
    an_attempt: 'that was evicted and exited with 0',
    job: completeJob,
    pods: [exited(0, '', {}, { reason: 'Evicted' })],
    is: 'disrupted',
  },
  { an_attempt: 'whose Job failed and whose pod was deleted', job: failedJob, is: 'disrupted' },
  { an_attempt: 'that was asked to stop', job: failedJob, pods: [exited(143, result('Stopped'))], is: 'disrupted' },
  {
    an_attempt: 'of a lost node',
    job: failedJob,
    pods: [pod({ phase: 'Failed', reason: 'NodeLost' })],
    is: 'disrupted',
  },
  {
    an_attempt: 'whose pod is replaced after a preemption',
    job: job(),
    pods: [exited(143, result('Stopped'), {}, disruptionTarget)],
    is: 'pending Disrupted',
  },
  {
    an_attempt: 'whose Job ended after a preemption',
    job: failedJob,
    pods: [exited(143, '', {}, disruptionTarget)],
    is: 'disrupted',
  },
  {
    an_attempt: 'that hit its memory limit',
    job: failedJob,
    pods: [exited(137, '', { reason: 'OOMKilled' })],
    is: 'failed ContainerOutOfMemory',
  },
  { an_attempt: 'that was killed by SIGKILL', job: failedJob, pods: [exited(137)], is: 'failed Killed' },
  {
    an_attempt: 'whose device ran out of memory',
    job: failedJob,
    pods: [exited(71, result('DeviceOutOfMemory'))],
    is: 'failed DeviceOutOfMemory',
  },
  { an_attempt: 'that crashed without a word', job: failedJob, pods: [exited(139)], is: 'failed Internal' },
  {
    an_attempt: 'that crashed beside conditions and a reason that are no disruption',
    job: failedJob,
    pods: [
      exited(
        139,
        '',
        {},
        {
          reason: 'Crashed',
          conditions: [
            { type: 'DisruptionTarget', status: 'False' },
            { type: 'Initialized', status: 'True' },
          ],
        },
      ),
    ],
    is: 'failed Internal',
  },
  { an_attempt: 'that wrote half a result', job: failedJob, pods: [exited(1, '{"ownerUid":')], is: 'failed Internal' },
]
for (const { an_attempt, job, pods = [], is } of cases)
  test(`an attempt ${an_attempt} is ${is}`, () => {
    assert.equal(say(attemptState(who, job ? [job] : [], pods, now)), is)
  })

test('the newest pod of an attempt is judged, not the one that it replaced', () => {
  const old = exited(143, '', {}, disruptionTarget)
  const young: Pod = { ...running, metadata: { ...running.metadata, creationTimestamp: '2026-01-01T00:05:00Z' } }
  const state = attemptState(who, [job()], [old, young], now)
  assert.deepEqual(state, {
    kind: 'running',
    pod: {
      name: young.metadata.name,
      uid: young.metadata.uid,
      ip: '10.0.0.1',
      ready: true,
      since: new Date('2026-01-01T00:01:00Z'),
    },
  })
})

test('a volume gets fifteen seconds before the status speaks of it', () => {
  const early = new Date('2026-01-01T00:00:10Z')
  const mounting = pod({
    phase: 'Pending',
    conditions: [scheduled, { type: 'PodReadyToStartContainers', status: 'False' }],
  })
  assert.equal(say(attemptState(who, [job()], [mounting], early)), 'pending Starting')
  assert.equal(say(attemptState(who, [job()], [mounting], now)), 'pending VolumeNotMounted')
})

test('what remains of earlier attempts are all of their pods, and Jobs of others whose pod still works', () => {
  const other = (name: string, status: Pod['status']): Pod =>
    pod(status, { name, labels: { 'batch.kubernetes.io/job-name': name } })
  const jobs = ['old', 'kept', 'hung'].map((name): Job => ({ ...job(), metadata: { name, uid: `${name}-uid` } }))
  const work = [
    other('old', { phase: 'Succeeded' }),
    other('kept', { phase: 'Succeeded' }),
    other('hung', { phase: 'Running' }),
  ]
  const remains = remainsOf(jobs, work, now, (name) => name === 'old')
  assert.deepEqual(remains, {
    jobs: [
      { name: 'old', uid: 'old-uid' },
      { name: 'hung', uid: 'hung-uid' },
    ],
    pods: ['hung', 'old'],
  })
})
