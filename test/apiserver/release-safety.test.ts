/** What a release says and does when the API server refuses, files lie elsewhere, pods fall silent or somebody edits its objects. */
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { type ApiServer, until } from './api-server.ts'
import { conditionOf, digestOf, ReleaseScene } from './release-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const best = { source: { run: { name: 'prose', checkpoint: 'Best' } } }

let server: ApiServer
let scene: ReleaseScene

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())
beforeEach(async () => {
  scene = await ReleaseScene.begin(server)
})
afterEach(() => scene.end())

const eventOf = (reason: string): Promise<number> =>
  until(`Event ${reason}`, async () => (await scene.list('/api/v1', 'events')).some((event) => event.reason === reason))

const pods = (changes: object) => changes as never

test('a Deployment that the API server refuses as malformed stalls the release in its words, and a better spec goes on', async () => {
  await scene.finishedRun()
  const affinity = {
    podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'no key at all' }] },
  }
  await scene.apply({ ...best, pod: pods({ affinity }) })
  const stalled = await scene.untilReady('False/PodInvalid')
  assert.match(conditionOf(stalled, 'Stalled')?.message ?? '', /^Deployment writer-serve-.*topologyKey.*no key at all/)
  await eventOf('PodInvalid')
  await scene.apply({ ...best, pod: pods({}) })
  await scene.untilReady('True/Serving')
})

test('an affinity that is none stalls the release too', async () => {
  await scene.finishedRun()
  await scene.apply({ ...best, pod: pods({ affinity: { nodeAffinity: { anything: ['is', 'kept'] } } }) })
  const stalled = await scene.untilReady('False/PodInvalid')
  assert.match(conditionOf(stalled, 'Stalled')?.message ?? '', /anything/)
})

async function quota(hard: Record<string, string>): Promise<string> {
  const path = `/api/v1/namespaces/${scene.namespace}/resourcequotas`
  await scene.client.request('POST', path, {
    body: { apiVersion: 'v1', kind: 'ResourceQuota', metadata: { name: 'none' }, spec: { hard } },
  })
  await until('the quota counts', async () => {
    const found = await scene.client.request<KubeObject & { status?: { hard?: object } }>('GET', `${path}/none`)
    return found.status?.hard !== undefined
  })
  return `${path}/none`
}

test('a Deployment that a quota forbids is waited for', async () => {
  const path = await quota({ 'count/deployments.apps': '0' })
  await scene.finishedRun()
  await scene.apply(best)
  const waits = await scene.untilReady('False/Forbidden')
  assert.match(conditionOf(waits, 'Reconciling')?.message ?? '', /^Deployment writer-serve-.*exceeded quota: none/)
  await eventOf('Forbidden')
  await scene.client.request('DELETE', path)
  await scene.untilReady('True/Serving', { limitSeconds: 90 })
})

test('pods that a quota forbids are told in the words of the API server', async () => {
  await quota({ pods: '0' })
  await scene.finishedRun()
  await scene.apply(best)
  const waits = await scene.untilReady('False/Forbidden')
  assert.match(conditionOf(waits, 'Reconciling')?.message ?? '', /exceeded quota: none/)
})

test('a scheduler that says 5,000 characters does not keep the status from being written', async () => {
  scene.pods.schedulerSays = `0/1 nodes are available: ${'∅ no room. '.repeat(455)}`
  await scene.finishedRun()
  await scene.apply(best)
  const waits = await scene.untilReady('False/NoCapacity')
  const { message = '' } = conditionOf(waits, 'Ready') ?? {}
  assert.equal([...message].length, 1024)
  assert.match(message, /0\/1 nodes are available.*…$/)
  scene.pods.schedulerSays = ''
  await scene.untilReady('True/Serving')
})

test('a run on another claim stalls the release, and both fields are named', async () => {
  await scene.claim('archive')
  await scene.finishedRun({ claimName: 'archive' })
  await scene.apply(best)
  const stalled = await scene.untilReady('False/StorageMismatch')
  const { message = '' } = conditionOf(stalled, 'Stalled') ?? {}
  assert.match(message, /spec.storage.claimName is humanizer, but spec.storage.claimName of run prose is archive/)
  assert.equal((await scene.deployments()).length, 0)
  await scene.apply({ ...best, storage: { claimName: 'archive', reclaimPolicy: 'Retain' } })
  await scene.untilReady('True/Serving')
  const elsewhere = { ...best, storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' as const } }
  await assert.rejects(scene.apply(elsewhere), /spec.storage.claimName is immutable once something serves/)
})

test('a digest that another release served is served again after its run is gone, and as soon as it is known', async () => {
  await scene.apply({ source: { digest: a } }, 'reader')
  await scene.untilReady('False/DigestUnknown', { name: 'reader' })
  await scene.finishedRun()
  await scene.untilReady('True/Serving', { name: 'reader' })
  await scene.client.request('DELETE', scene.path('qloraruns', 'prose'))
  await scene.apply({ source: { digest: a } })
  const { status } = await scene.untilReady('True/Serving')
  assert.equal(status?.active?.name, 'prose/checkpoint-12')
})

test('a rollback by the field of the run works after the run was deleted', async () => {
  await scene.finishedRun()
  await scene.apply(best)
  await scene.untilReady('True/Serving')
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  await scene.untilReady('True/Serving')
  await scene.client.request('DELETE', scene.path('qloraruns', 'prose'))
  await scene.apply(best)
  assert.equal((await scene.untilReady('True/Serving')).status?.active?.digest, b)
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  assert.equal((await scene.untilReady('True/Serving')).status?.active?.digest, a)
})

test('pods that fall silent while Ready leave the status as it is', async () => {
  await scene.finishedRun()
  await scene.apply(best)
  const before = await scene.untilReady('True/Serving')
  scene.pods.silent = true
  const [pod] = before.status?.pods ?? []
  const path = `/api/v1/namespaces/${scene.namespace}/pods/${pod?.name}`
  const body = { metadata: { annotations: { poke: 'the operator' } } }
  await scene.client.request('PATCH', path, { contentType: 'application/merge-patch+json', body })
  await new Promise((resolve) => setTimeout(resolve, 6000))
  const after = await scene.get()
  assert.equal(after.metadata.resourceVersion, before.metadata.resourceVersion)
  scene.pods.silent = false
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  await scene.untilReady('True/Serving')
  assert.deepEqual(scene.pods.digests, [a])
})

interface Edit {
  readonly what: string
  readonly of: string
  readonly plural: string
  readonly body: object
  readonly back: (object: KubeObject) => boolean
}

// biome-ignore lint/suspicious/noExplicitAny: a manifest is read here as a reader of YAML would
const spec = (object: KubeObject) => (object as any).spec
const edits: Edit[] = [
  {
    what: 'a NetworkPolicy that lets everybody in',
    of: '/apis/networking.k8s.io/v1',
    plural: 'networkpolicies',
    body: { spec: { ingress: [{}] } },
    back: (object) => spec(object).ingress.length === 2,
  },
  {
    what: 'a NetworkPolicy for no pods',
    of: '/apis/networking.k8s.io/v1',
    plural: 'networkpolicies',
    body: { spec: { podSelector: { matchLabels: { 'humanizer.dev/release': 'other' } } } },
    back: (object) => spec(object).podSelector.matchLabels['humanizer.dev/release'] === 'writer',
  },
  {
    what: 'a Deployment of no pods',
    of: '/apis/apps/v1',
    plural: 'deployments',
    body: { spec: { replicas: 0 } },
    back: (object) => spec(object).replicas === 1,
  },
  {
    what: 'a Deployment that may take a serving pod away',
    of: '/apis/apps/v1',
    plural: 'deployments',
    body: { spec: { strategy: { rollingUpdate: { maxUnavailable: 1 } } } },
    back: (object) => spec(object).strategy.rollingUpdate.maxUnavailable === 0,
  },
  {
    what: 'a Service that leads nowhere',
    of: '/api/v1',
    plural: 'services',
    body: { spec: { selector: { app: 'nothing' } } },
    back: (object) =>
      spec(object).selector['humanizer.dev/release'] === undefined && !!spec(object).selector['humanizer.dev/serving'],
  },
]

test('whatever is edited by hand is put right, and then nothing is written any more', async () => {
  await scene.finishedRun()
  await scene.apply({ ...best, serving: { replicas: 1, port: 8000 } })
  await scene.untilReady('True/Serving')
  for (const { what, of, plural, body, back } of edits) {
    const mine = async () =>
      (await scene.list(of, plural)).find(({ metadata }) => metadata.labels?.['humanizer.dev/release'])!
    const path = `${of}/namespaces/${scene.namespace}/${plural}/${(await mine()).metadata.name}`
    await scene.client.request('PATCH', path, {
      contentType: 'application/merge-patch+json',
      query: { fieldManager: 'somebody' },
      body,
    })
    await until(`${what} is put right`, async () => back(await mine()), 10)
  }
  await scene.untilReady('True/Serving')
  await new Promise((resolve) => setTimeout(resolve, 1500))
  const before = await scene.versions()
  await scene.stopOperator()
  await scene.startOperator()
  await new Promise((resolve) => setTimeout(resolve, 3000))
  assert.deepEqual(await scene.versions(), before)
})

test('a NetworkPolicy that is deleted is made again', async () => {
  await scene.finishedRun()
  await scene.apply(best)
  await scene.untilReady('True/Serving')
  const group = '/apis/networking.k8s.io/v1'
  await scene.client.request('DELETE', `${group}/namespaces/${scene.namespace}/networkpolicies/writer-serve`)
  await until('it is there again', async () => (await scene.list(group, 'networkpolicies')).length === 1, 10)
})
