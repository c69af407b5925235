import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { checklistItems } from '../../operator/api/checklist.ts'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import type { Job } from '../../operator/workload/attempt-state.ts'
import { type ApiServer, until } from './api-server.ts'
import { operatorHere } from './operator-here.ts'
import { completes, digestOf, fails, type JobPod, Kubelet, type PodScript } from './run-kubelet.ts'
import { apiVersion, reasonOf, type User } from './run-objects.ts'
import { reaches, scene } from './run-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

let server: ApiServer

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())

const config = async (user: User, name: string): Promise<Record<string, unknown>> => {
  const { data, immutable } = await user.get<KubeObject & { data: Record<string, string> }>('configmaps', name)
  assert.equal(immutable, true)
  return JSON.parse(data['config.json']!)
}

test('a dataset and a run go from YAML to Succeeded, with every child as designed', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start({ lora: { rank: 8 }, pod: { labels: { team: 'writers' } } })
  await operator.ready()
  await reaches(user, 'Succeeded')

  const { status: dataset } = await user.dataset()
  assert.deepEqual([dataset?.digest, dataset?.counts?.train, dataset?.duplicatesPercent], [digestOf('d'), 95, '4.8'])
  const { status, metadata } = await user.run()
  assert.deepEqual(
    [status?.datasetDigest, status?.model?.digest, status?.baseline?.loss],
    [digestOf('d'), digestOf('b'), '2.010000'],
  )
  assert.deepEqual(
    status?.checkpoints?.map(({ name, best, evalLoss }) => [name, best, evalLoss]),
    [
      ['checkpoint-15', false, '1.950000'],
      ['checkpoint-30', true, '1.900000'],
    ],
  )
  assert.deepEqual([status?.progress?.percent, status?.progress?.trainLoss, status?.failures], ['100%', '1.8400', 0])
  assert.deepEqual(status?.checkpoints?.at(-1)?.metrics, [
    { name: 'improvement', value: '0.110000', low: '0.100000', high: '0.120000' },
    { name: 'copyRate', value: '0.000000' },
  ])
  assert.equal(status?.diagnosis?.verdict, 'Overfitting')
  assert.deepEqual(
    status?.checklist?.flatMap(({ item, done }) => (done ? [item] : [])),
    [
      'DataLicensesVerified',
      'SplitCreated',
      'BaselineCaptured',
      'ConfigurationDocumented',
      'AdapterVerified',
      'EvaluatedAfterTraining',
    ],
  )
  assert.ok(status?.conditions?.every(({ observedGeneration }) => observedGeneration === metadata.generation))
  assert.deepEqual(
    kubelet.seen.map(({ job }) => job),
    ['prose-prepare-1', 'prose-fetch-1', 'prose-train-1'],
  )

  const { training, configDigest, lora, attempt, reclaim } = await config(user, 'prose-train-1')
  assert.deepEqual([lora, attempt, configDigest], [{ rank: 8, alpha: 16, dropout: 0.05 }, 1, status?.configDigest])
  assert.equal((training as { learningRate: number }).learningRate, 1.5e-4)
  assert.deepEqual(reclaim, {
    kind: 'QLoRARun',
    policy: 'Retain',
    createdTime: metadata.creationTimestamp,
    sweep: {
      liveUids: [metadata.uid, (await user.dataset()).metadata.uid].sort(),
      liveDigests: [digestOf('d')],
    },
  })
  const job = await user.get<KubeObject & { spec: Record<string, unknown> }>('jobs', 'prose-train-1')
  assert.deepEqual([job.spec.backoffLimit, job.spec.podReplacementPolicy], [0, 'Failed'])
  const claim = await user.get<KubeObject>('persistentvolumeclaims', 'humanizer')
  assert.equal(claim.metadata.ownerReferences, undefined)
  const [pod] = (await user.list<KubeObject>('pods')).filter(({ metadata }) => metadata.name.startsWith('prose-train'))
  assert.deepEqual([pod?.metadata.labels?.team, pod?.metadata.labels?.['humanizer.dev/run']], ['writers', 'prose'])
})

test('a finished run hears that its dataset is approved and that a release refuses its checkpoint, and keeps it', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'Succeeded')
  const { checkpoints = [] } = (await user.run()).status ?? {}
  const rejectedDigest = checkpoints.find(({ best }) => best)!.digest
  await user.patch('humanizerdatasets', 'prose', {
    spec: { review: { approvedDigest: digestOf('d'), approvedBy: 'ann' } },
  })
  await user.make('adapterreleases', {
    apiVersion,
    kind: 'AdapterRelease',
    metadata: { name: 'writer' },
    spec: { source: { run: { name: 'prose' } }, review: { rejectedDigest } },
  })
  const people = async () =>
    (await user.run()).status?.checklist?.filter(
      ({ item, done }) => done && /Dedup|Samples|Deployment|Rollback/.test(item),
    ) ?? []
  await until('the run hears of both', async () => (await people()).length === 3)
  assert.deepEqual(
    (await people()).map(({ item, evidence }) => [item, evidence]),
    [
      ['DedupReportReviewed', `${digestOf('d')} was approved by ann: spec.review of dataset prose`],
      ['SamplesReviewed', `${rejectedDigest.slice(0, 19)}… was rejected: spec.review of release writer`],
      ['DeploymentDecided', `release writer rejected ${rejectedDigest.slice(0, 19)}…: spec.review.rejectedDigest`],
    ],
  )
  const ofRelease = async () => (await user.get<AdapterRelease>('adapterreleases', 'writer')).status?.checklist
  await until('the release has its own', async () => (await ofRelease())?.digest === rejectedDigest)
  assert.deepEqual(
    (await ofRelease())?.items.map(({ item }) => item),
    checklistItems,
  )
  await user.delete('adapterreleases', 'writer')
  await until('the release is gone', async () => (await user.list('adapterreleases')).length === 0)
  assert.equal((await people()).length, 3)
})

test("every pod passes the Pod Security Standard 'restricted'", async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await server.client().request('PATCH', `/api/v1/namespaces/${namespace}`, {
    contentType: 'application/merge-patch+json',
    body: { metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'restricted' } } },
  })
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'Succeeded')
})

const stories: { a_run: string; train: (pod: JobPod, n: number) => PodScript; attempts: unknown[]; pods: number }[] = [
  {
    a_run: 'whose container runs out of memory goes on with half the micro-batch',
    train: (pod, n) => (n === 0 ? { kind: 'end', exitCode: 137, reason: 'OOMKilled' } : completes(pod)),
    attempts: [
      ['ContainerOutOfMemory', 4, 4],
      ['Completed', 2, 8],
    ],
    pods: 2,
  },
  {
    a_run: 'whose pod is evicted goes on in the pod that its Job makes, and does not count it',
    train: (pod, n) => (n === 0 ? { kind: 'evict' } : completes(pod)),
    attempts: [['Completed', 4, 4]],
    pods: 2,
  },
  {
    a_run: 'that stops on SIGTERM without a word goes on and does not count it',
    train: (pod, n) => (n === 0 ? fails(pod, 143, 'Stopped') : completes(pod)),
    attempts: [
      ['Disrupted', 4, 4],
      ['Completed', 4, 4],
    ],
    pods: 2,
  },
]
for (const { a_run, train, attempts, pods } of stories)
  test(`a run ${a_run}`, async () => {
    const { namespace, user, kubelet, start } = await scene(server, train)
    await using _ = kubelet
    await using operator = await operatorHere(server, namespace)
    await start()
    await operator.ready()
    await reaches(user, 'Succeeded')
    const { status } = await user.run()
    assert.deepEqual(
      status?.attempts?.map((a) => [a.reason, a.microBatchSize, a.gradientAccumulation]),
      attempts,
    )
    assert.deepEqual([kubelet.jobsOf('train').length, kubelet.mostTrainers], [pods, 1])
  })

test('a run whose pod is deleted goes on in a new attempt that does not count', async () => {
  const { namespace, user, kubelet, start } = await scene(server, (pod, n) =>
    n === 0 ? { kind: 'run' } : completes(pod),
  )
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'Training')
  await user.delete('pods', kubelet.seen.find(({ command }) => command === 'train')!.name)
  await reaches(user, 'Succeeded')
  const { status } = await user.run()
  assert.deepEqual([status?.attempts?.map(({ reason }) => reason), status?.failures], [['Disrupted', 'Completed'], 0])
})

test('a finished run whose Job and pods are deleted by hand stays Succeeded and makes nothing', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'Succeeded')
  const before = await user.run()
  await user.delete('jobs', 'prose-train-1')
  await user.delete('jobs', 'prose-fetch-1')
  await until('no pod of the run is left', async () =>
    (await user.list<KubeObject>('pods')).every(({ metadata }) => metadata.labels?.['humanizer.dev/run'] !== 'prose'),
  )
  await new Promise((resolve) => setTimeout(resolve, 3000))
  assert.deepEqual((await user.run()).metadata.resourceVersion, before.metadata.resourceVersion)
  assert.deepEqual(kubelet.jobsOf('train'), ['prose-train-1'])
})

for (const { pods, attempts } of [
  { pods: 'stay', attempts: ['Completed'] },
  { pods: 'are deleted', attempts: ['Disrupted', 'Completed'] },
])
  test(`a run that finishes while the operator is down, and whose pods ${pods}, is found`, async () => {
    const { namespace, user, kubelet, start } = await scene(server, (pod, n) =>
      n === 0 ? { kind: 'run' } : completes(pod),
    )
    await using _ = kubelet
    {
      await using operator = await operatorHere(server, namespace)
      await start()
      await operator.ready()
      await reaches(user, 'Training')
    }
    const pod = kubelet.seen.find(({ command }) => command === 'train')!
    await kubelet.end(pod.name, completes(pod))
    await until('the Job is Complete', async () => {
      const { status } = await user.get<Job>('jobs', 'prose-train-1')
      return status?.conditions?.some(({ type }) => type === 'Complete') ?? false
    })
    if (pods === 'are deleted') await user.delete('pods', pod.name)
    await using operator = await operatorHere(server, namespace)
    await reaches(user, 'Succeeded')
    await operator.ready()
    const { status } = await user.run()
    assert.deepEqual([status?.attempts?.map(({ reason }) => reason), status?.failures], [attempts, 0])
    assert.equal(kubelet.mostTrainers, 1)
  })

test('a run that is suspended leaves no pod and goes on when it is resumed', async () => {
  const { namespace, user, kubelet, start } = await scene(server, (pod, n) =>
    n === 0 ? { kind: 'run' } : completes(pod),
  )
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'Training')
  await user.patch('qloraruns', 'prose', { spec: { suspend: true } })
  await reaches(user, 'Suspended')
  await until('no Job of the run is left', async () =>
    (await user.list<KubeObject>('jobs')).every(({ metadata }) => !metadata.name.includes('-train-')),
  )
  await user.patch('qloraruns', 'prose', { spec: { suspend: false } })
  await reaches(user, 'Succeeded')
  assert.deepEqual(kubelet.jobsOf('train'), ['prose-train-1', 'prose-train-2'])
})

test('a run that cannot succeed is Stalled with the words of the trainer, says it as an Event, and tries again on retryToken', async () => {
  const { namespace, user, kubelet, start } = await scene(server, (pod, n) =>
    n === 0 ? fails(pod, 64, 'ConfigurationInvalid', 'lora.targetModules: z_proj matches no layer') : completes(pod),
  )
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'ConfigurationInvalid')
  const { status } = await user.run()
  const conditions = Object.fromEntries(
    status!.conditions!.map(({ type, status, message }) => [type, [status, message]]),
  )
  assert.deepEqual(conditions.Stalled, ['True', 'lora.targetModules: z_proj matches no layer'])
  assert.equal(conditions.Succeeded?.[0], 'False')
  await until('the Event is there', async () =>
    (await user.list<KubeObject & { type: string; reason: string }>('events')).some(
      ({ type, reason }) => type === 'Warning' && reason === 'ConfigurationInvalid',
    ),
  )
  await user.patch('qloraruns', 'prose', { spec: { retryToken: 'fixed' } })
  await reaches(user, 'Succeeded')
})

test('a Job of that name that belongs to somebody else is left alone, and the run waits', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await server.client().request('POST', `/api/v1/namespaces/${namespace}/configmaps`, {
    body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'prose-train-1' }, data: { mine: 'yes' } },
  })
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await reaches(user, 'NameConflict')
  assert.deepEqual((await user.get<KubeObject>('configmaps', 'prose-train-1')).data, { mine: 'yes' })
  await user.delete('configmaps', 'prose-train-1')
  await reaches(user, 'Succeeded')
})

test('a changed dataset is prepared again, and the old digest stands until the new one is there', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using operator = await operatorHere(server, namespace)
  await start()
  await operator.ready()
  await until('the dataset is prepared', async () => reasonOf(await user.dataset()) === 'Prepared')
  await kubelet[Symbol.asyncDispose]()
  const { specHash } = await import('../../operator/dataset/prepare-config.ts')
  const changed = await user.patch<Awaited<ReturnType<User['dataset']>>>('humanizerdatasets', 'prose', {
    spec: { split: { seed: 7 } },
  })
  await until('it is prepared again', async () => reasonOf(await user.dataset()) !== 'Prepared')
  assert.equal((await user.dataset()).status?.digest, digestOf('d'))
  await using _ = new Kubelet(server.client(), namespace, (pod) => completes(pod, specHash(changed.spec)))
  await until('the dataset is prepared', async () => reasonOf(await user.dataset()) === 'Prepared')
  const { status } = await user.dataset()
  assert.deepEqual([status?.preparedSpecHash, status?.attempts?.length], [specHash(changed.spec), 2])
})
