/** What the API server refuses or the user forgot: said with its words, and cured without a hand on the operator. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { type ApiServer, until } from './api-server.ts'
import { operatorHere } from './operator-here.ts'
import { completes } from './run-kubelet.ts'
import { datasetSpec, readyOf, reasonOf, type User } from './run-objects.ts'
import { reaches, scene } from './run-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

let server: ApiServer

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())

const datasetIs = (user: User, reason: string): Promise<number> =>
  until(`the dataset is ${reason}`, async () => reasonOf(await user.dataset()) === reason)

test('a ConfigMap or key that a source lacks is named before any Job is made, and the dataset goes on when it is there', async () => {
  const { namespace, user, kubelet } = await scene(server)
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  await user.create('HumanizerDataset', 'prose', datasetSpec)
  await datasetIs(user, 'ConfigMapMissing')
  const said = async () => readyOf(await user.dataset())?.message
  assert.equal(await said(), 'spec.sources[prose].configMap: there is no ConfigMap prose')
  const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'prose' }, data: { 'b.csv': '', 'a.csv': '' } }
  await user.make('configmaps', body)
  await until('the keys are named', async () => /it has a\.csv, b\.csv$/.test((await said()) ?? ''))
  assert.deepEqual(await user.list('jobs'), [])
  await user.patch('configmaps', 'prose', { data: { 'prose.jsonl': '{}' } })
  await until('the Job is made', async () => kubelet.jobsOf('prepare').length > 0)
})

test('a claim that the quota forbids is said by the dataset, once, and made when it may be', async () => {
  const { namespace, user, kubelet } = await scene(server)
  await using _ = kubelet
  await user.forbid('persistentvolumeclaims')
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  await user.makeSource()
  await user.create('HumanizerDataset', 'prose', datasetSpec)
  await datasetIs(user, 'Forbidden')
  const { message } = readyOf(await user.dataset())!
  assert.match(message, /^PersistentVolumeClaim humanizer: .*exceeded quota: none/)
  await user.patch('humanizerdatasets', 'prose', { spec: { cleaning: { minWords: 3 } } })
  await until('it was tried again', async () => {
    const { status, metadata } = await user.dataset()
    return status?.observedGeneration === metadata.generation
  })
  assert.equal(readyOf(await user.dataset())?.message, message)
  await user.delete('resourcequotas', 'none')
  await user.patch('humanizerdatasets', 'prose', { spec: { cleaning: { minWords: 4 } } })
  await until('the claim is made', async () => (await user.list('persistentvolumeclaims')).length === 1)
})

test('a Job that the quota forbids is waited for', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await user.forbid('count/jobs.batch')
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  await start()
  await datasetIs(user, 'Forbidden')
  const { status, message } = readyOf(await user.dataset())!
  assert.equal(status, 'False')
  assert.match(message, /^Job prose-prepare-1: .*exceeded quota: none/)
  await user.delete('resourcequotas', 'none')
  await user.patch('humanizerdatasets', 'prose', { spec: { pod: { priorityClassName: 'any' } } })
  await until('the Job is made', async () => (await user.list('jobs')).length === 1)
  assert.equal((await user.dataset()).status?.attempts?.length, 1)
})

test('a pod that Kubernetes calls malformed stalls the run until spec.pod is mended', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  const term = { labelSelector: {}, topologyKey: '' }
  await start({ pod: { affinity: { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } } })
  await reaches(user, 'PodInvalid')
  const conditions = (await user.run()).status?.conditions ?? []
  const stalled = conditions.find(({ type }) => type === 'Stalled')
  assert.match(stalled?.message ?? '', /^Job prose-fetch-1: .*topologyKey/)
  await user.patch('qloraruns', 'prose', { spec: { pod: { affinity: null } } })
  await reaches(user, 'Succeeded')
  assert.deepEqual(kubelet.jobsOf('fetch'), ['prose-fetch-1'])
})

test('a trainer that never listens is stopped after progressDeadlineSeconds and counts as a failure', async () => {
  const { namespace, user, kubelet, start } = await scene(server, (pod, n) =>
    n === 0 ? { kind: 'hang' } : completes(pod),
  )
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  await start({ progressDeadlineSeconds: 10 })
  await reaches(user, 'Succeeded', 90)
  const { status } = await user.run()
  assert.deepEqual(
    [status?.attempts?.map(({ reason }) => reason), status?.failures, kubelet.mostTrainers],
    [['ProgressDeadlineExceeded', 'Completed'], 1, 1],
  )
})

test('a dataset whose claim is deleted says what is gone and takes no empty claim in its place; nothing starts on it', async () => {
  const { namespace, user, kubelet, start } = await scene(server, () => ({ kind: 'run' }))
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  await start({ suspend: true })
  await datasetIs(user, 'Prepared')
  await user.delete('persistentvolumeclaims', 'humanizer')
  await until('the claim is gone', async () => (await user.list('persistentvolumeclaims')).length === 0)
  await user.patch('humanizerdatasets', 'prose', { spec: { retryToken: 'look' } })
  await datasetIs(user, 'ArtifactMissing')
  assert.match(readyOf(await user.dataset())?.message ?? '', /PersistentVolumeClaim humanizer is gone.*datasets\/dddd/)
  await user.patch('qloraruns', 'prose', { spec: { suspend: false } })
  await reaches(user, 'DatasetNotReady')
  assert.deepEqual(await user.list('persistentvolumeclaims'), [])
})

const QUEUE = { 'kueue.x-k8s.io/queue-name': 'gpus' }
test('a Job for a Kueue queue is made suspended, and what Kueue writes to it afterwards is never written over', async () => {
  const { namespace, user, kubelet, start } = await scene(server)
  await using _ = kubelet
  await using operator = await operatorHere(server, namespace)
  await operator.ready()
  await start({}, QUEUE)
  for (const name of ['prose-fetch-1', 'prose-train-1']) {
    await until(`${name} is queued`, async () => {
      const { reason, message } = readyOf(await user.run()) ?? {}
      return reason === 'Queued' && message?.includes(name) === true
    })
    const job = await user.get<KubeObject & { spec: { suspend: boolean } }>('jobs', name)
    assert.deepEqual([job.spec.suspend, job.metadata.labels?.['kueue.x-k8s.io/queue-name']], [true, 'gpus'])
    await user.patch('jobs', name, { spec: { suspend: false } })
    await until(`${name} runs`, async () => kubelet.seen.some(({ job }) => job === name))
  }
  await reaches(user, 'Succeeded')
  const written = server
    .audited()
    .filter(({ objectRef, verb }) => objectRef?.namespace === namespace && ['update', 'patch'].includes(verb))
    .filter(({ objectRef }) => objectRef?.resource === 'jobs' && !objectRef.subresource)
    .map(({ objectRef }) => objectRef?.name)
  assert.deepEqual(written, ['prose-fetch-1', 'prose-train-1'])
  assert.equal(
    (await user.get<KubeObject>('jobs', 'prose-prepare-1')).metadata.labels?.['kueue.x-k8s.io/queue-name'],
    undefined,
  )
})
