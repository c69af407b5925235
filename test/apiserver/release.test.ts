/** The release controller on a real API server with real Deployments; the pods are stand-ins that answer signed calls. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import type { QLoRARun } from '../../operator/api/generated/qlorarun.ts'
import { type ApiClient, loadKubeConfig } from '../../operator/kube/client.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { HumanizerOperator } from '../../operator/operator.ts'
import { releaseController } from '../../operator/release/controller.ts'
import { settingsFrom } from '../../operator/settings.ts'
import { type ApiServer, startApiServer, until } from './api-server.ts'
import { ServingPods } from './serving-stand-in.ts'
import { silent } from './widget.ts'

const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`
const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]
const { privateKey } = generateKeyPairSync('ed25519')

let server: ApiServer
let client: ApiClient
let operator: HumanizerOperator | undefined
let namespace: string
let pods: ServingPods

before(async () => {
  server = await startApiServer({ controllerManager: true })
  client = server.client()
})
after(() => server.stop())

beforeEach(async () => {
  namespace = await server.namespace()
  pods = new ServingPods(client, namespace)
  await client.request('POST', `/api/v1/namespaces/${namespace}/persistentvolumeclaims`, {
    body: {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'humanizer' },
      spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
    },
  })
  await startOperator()
})
afterEach(async () => {
  await operator?.stop()
  await pods.stop()
})

async function startOperator(): Promise<void> {
  const env = {
    POD_NAMESPACE: namespace,
    POD_NAME: `operator-${Date.now()}`,
    TRAINER_IMAGE: 'trainer:1',
    SIGNING_KEY_FILE: 'key.pem',
    WATCH_NAMESPACES: namespace,
    METRICS_PORT: '0',
    HEALTH_PORT: '0',
  }
  const settings = settingsFrom(env, () => privateKey.export({ type: 'pkcs8', format: 'pem' }) as string)
  operator = new HumanizerOperator(settings, loadKubeConfig({ text: server.kubeConfig() }), [releaseController], silent)
  await operator.start()
}

const path = (plural: string, name = ''): string =>
  `/apis/humanizer.dev/v1alpha1/namespaces/${namespace}/${plural}${name && `/${name}`}`
const getRelease = (): Promise<AdapterRelease> => client.request('GET', path('adapterreleases', 'writer'))
const apply = (spec: Partial<AdapterRelease['spec']>): Promise<AdapterRelease> =>
  client.request('PATCH', path('adapterreleases', 'writer'), {
    contentType: 'application/apply-patch+yaml',
    query: { fieldManager: 'test', force: true },
    body: { apiVersion: 'humanizer.dev/v1alpha1', kind: 'AdapterRelease', metadata: { name: 'writer' }, spec },
  })

function readyOf({ status }: AdapterRelease): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')
  return `${ready?.status}/${ready?.reason}`
}

/** Waits for Ready to be so for the newest spec; resolves the release. */
async function untilReady(want: string, limitSeconds = 20): Promise<AdapterRelease> {
  let seen: AdapterRelease | undefined
  await until(
    `Ready ${want}`,
    async () => {
      seen = await getRelease()
      return seen.status?.observedGeneration === seen.metadata.generation && readyOf(seen) === want
    },
    limitSeconds,
  ).catch((error) => {
    throw new Error(`${error.message}; it is ${seen && readyOf(seen)}: ${JSON.stringify(seen?.status?.conditions)}`)
  })
  return seen!
}

/** A run that has ended: checkpoint-12 (1.9) and checkpoint-24 (1.8, best) over a baseline of 2.0. */
async function finishedRun(name = 'prose', letters = ['a', 'b'], model = 'm'): Promise<QLoRARun> {
  const created = await client.request<QLoRARun>('POST', path('qloraruns'), {
    body: {
      apiVersion: 'humanizer.dev/v1alpha1',
      kind: 'QLoRARun',
      metadata: { name },
      spec: { datasetRef: { name: 'prose' }, baseModel: { volume: { claimName: 'humanizer', path: 'models/m' } } },
    },
  })
  const now = new Date().toISOString().replace(/\.\d+/, '')
  const status: QLoRARun['status'] = {
    conditions: [
      {
        type: 'Succeeded',
        status: 'True',
        reason: 'Completed',
        message: '',
        observedGeneration: 1,
        lastTransitionTime: now,
      },
    ],
    datasetDigest: digestOf('d'),
    baseline: { loss: '2.0' },
    model: { path: `models/${model}`, digest: digestOf('e'), name: model },
    format: { sample: 'Denoise', systemPrompt: 's', userTemplate: '{text}' },
    checkpoints: letters.map((letter, index) => ({
      name: `checkpoint-${(index + 1) * 12}`,
      step: (index + 1) * 12,
      digest: digestOf(letter),
      path: `runs/${name}/checkpoint-${(index + 1) * 12}`,
      evalLoss: index === 0 ? '1.9' : '1.8',
      best: index === letters.length - 1,
    })),
  }
  return client.request('PUT', `${path('qloraruns', name)}/status`, { body: { ...created, status } })
}

const list = async (group: string, plural: string): Promise<KubeObject[]> =>
  (await client.request<{ items: KubeObject[] }>('GET', `${group}/namespaces/${namespace}/${plural}`)).items
const deployments = (): Promise<KubeObject[]> => list('/apis/apps/v1', 'deployments')

test('from a finished run to a serving adapter, a switch and a rollback in the same pods', async () => {
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } }, serving: { replicas: 2, port: 8000 } })
  await untilReady('False/RunNotFound')
  await finishedRun()
  const first = await untilReady('True/Serving')
  assert.equal(first.status?.active?.name, 'prose/checkpoint-24')
  assert.equal(first.status?.endpoint, `http://writer.${namespace}.svc:8000/v1`)
  assert.equal(first.status?.replicas, 2)
  assert.equal(first.status?.pods?.length, 2)
  const before = pods.uids

  const began = performance.now()
  await apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } }, serving: { replicas: 2, port: 8000 } })
  const second = await untilReady('True/Serving')
  const seconds = (performance.now() - began) / 1000
  assert.equal(second.status?.active?.digest, a)
  assert.equal(second.status?.previous?.digest, b)
  assert.deepEqual(pods.digests, [a, a])
  assert.ok(seconds < 5, `the switch took ${seconds.toFixed(1)} s`)

  await client.request('DELETE', path('qloraruns', 'prose'))
  await apply({ source: { digest: b }, serving: { replicas: 2, port: 8000 } })
  await untilReady('True/Serving')
  assert.deepEqual(pods.digests, [b, b])
  await apply({ source: { base: true }, serving: { replicas: 2, port: 8000 } })
  assert.equal((await untilReady('True/Serving')).status?.active?.name, 'base')
  assert.deepEqual(pods.digests, ['', ''])
  assert.deepEqual(pods.uids, before)
})

test('a candidate that no pod can load is refused and the previous one serves on', async () => {
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await untilReady('True/Serving')
  pods.broken.add(a)
  await apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  const { status } = await untilReady('False/LoadFailed')
  assert.equal(status?.active?.digest, b)
  assert.equal(status?.candidate?.digest, a)
  assert.match(
    status?.conditions?.find(({ type }) => type === 'Stalled')?.message ?? '',
    /differs from its manifest.*serves/,
  )
  assert.deepEqual(pods.digests, [b])
})

test('a gate holds the candidate back, and an Event says so', async () => {
  await finishedRun()
  await apply({
    source: { run: { name: 'prose', checkpoint: 'Best' } },
    gates: [{ metric: 'evalLoss', max: '1.5', enforcement: 'Enforce' }],
  })
  await untilReady('False/GateFailed')
  assert.equal((await deployments()).length, 0)
  await until('the Event', async () =>
    (await list('/api/v1', 'events')).some(({ reason, type }) => reason === 'GateFailed' && type === 'Warning'),
  )
})

test('with every signed call blocked it converges by desired.json', async () => {
  pods.callsBlocked = true
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await untilReady('True/Serving', 90)
  await apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  await untilReady('True/Serving', 90)
  assert.deepEqual(pods.digests, [a])
})

test('a pod that lies never makes the release Ready, and the truth does', async () => {
  pods.lie = (state) => ({ ...state, digest: c })
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  const { status } = await untilReady('False/PodsDisagree')
  assert.equal(status?.active, undefined)
  pods.lie = (state) => state
  await untilReady('True/Serving')
})

test('another base model comes up beside the old one, then the old one goes', async () => {
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await untilReady('True/Serving')
  const [old] = await deployments()
  await finishedRun('verse', ['c'], 'n')
  await apply({ source: { run: { name: 'verse', checkpoint: 'Best' } } })
  const { status } = await untilReady('True/Serving')
  assert.equal(status?.active?.digest, c)
  await until('the old Deployment is gone', async () => {
    const now = await deployments()
    return now.length === 1 && now[0]?.metadata.uid !== old?.metadata.uid
  })
})

test('a Service of somebody else is not touched', async () => {
  await client.request('POST', `/api/v1/namespaces/${namespace}/services`, {
    body: { apiVersion: 'v1', kind: 'Service', metadata: { name: 'writer' }, spec: { ports: [{ port: 1 }] } },
  })
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await untilReady('False/NameConflict')
  const [service] = (await list('/api/v1', 'services')).filter(({ metadata }) => metadata.name === 'writer')
  assert.deepEqual(service?.metadata.labels, undefined)
})

test('the operator writes nothing of the object but its status', async () => {
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  const { metadata } = await untilReady('True/Serving')
  const fields = (metadata as unknown as { managedFields: { manager: string; subresource?: string }[] }).managedFields
  assert.deepEqual(fields.map(({ manager, subresource = 'spec' }) => `${manager} ${subresource}`).sort(), [
    'humanizer status',
    'test spec',
  ])
})

test('at rest the operator writes nothing', async () => {
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await untilReady('True/Serving')
  const versions = async () =>
    [await getRelease(), ...(await deployments()), ...(await list('/api/v1', 'configmaps'))].map(
      ({ metadata }) => metadata.resourceVersion,
    )
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const before = await versions()
  await operator?.stop()
  await startOperator()
  await new Promise((resolve) => setTimeout(resolve, 4000))
  assert.deepEqual(await versions(), before)
})

test('deleting the release leaves nothing behind but the claim', async () => {
  await finishedRun()
  await apply({ source: { run: { name: 'prose', checkpoint: 'Best' } } })
  await untilReady('True/Serving')
  await client.request('DELETE', path('adapterreleases', 'writer'))
  await until(
    'all children are gone',
    async () => {
      const lists = [
        await deployments(),
        await list('/api/v1', 'pods'),
        await list('/api/v1', 'services'),
        await list('/apis/networking.k8s.io/v1', 'networkpolicies'),
        (await list('/api/v1', 'configmaps')).filter(({ metadata }) => metadata.labels?.['humanizer.dev/release']),
      ]
      return lists.every((each) => each.length === 0)
    },
    90,
  )
  assert.equal((await list('/api/v1', 'persistentvolumeclaims')).length, 1)
})
