import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { Cluster, KubeObject } from '../../operator/kube/cluster.ts'
import { Conflict, Forbidden, Invalid, NotLeading, Unavailable } from '../../operator/kube/errors.ts'
import { KubeCluster } from '../../operator/kube/kube-cluster.ts'
import { freePort } from '../port.ts'
import { type ApiServer, startApiServer, until } from './api-server.ts'
import { silent, type Widget, widget, widgetCrd, widgetKind, widgetsPath } from './widget.ts'

let server: ApiServer
let namespace: string
let mutations = 0
let leading = true
let cluster: Cluster

before(async () => {
  server = await startApiServer()
  await server.installCrds([widgetCrd])
  namespace = await server.namespace()
  cluster = clusterOf()
})
after(() => server.stop())

const clusterOf = (options?: { port?: number; token?: string; timeoutMs?: number }): Cluster =>
  new KubeCluster({
    client: server.client(options),
    log: silent,
    podName: 'operator-0',
    leading: () => leading,
    afterMutation: () => {
      mutations++
    },
    written: () => undefined,
  })

const configMap = (name: string, data: Record<string, string>): KubeObject => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace, labels: { test: 'list' } },
  data,
})
const refOf = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name })

async function newWidget(name: string): Promise<Widget> {
  return server.client().request<Widget>('POST', widgetsPath(namespace), { body: widget(namespace, name, 'a') })
}

test('an object that is not there is undefined, not an error', async () => {
  assert.equal(await cluster.get(refOf('absent')), undefined)
})

test('creating what is there says exists and changes nothing', async () => {
  assert.equal(await cluster.create(configMap('once', { a: '1' })), 'created')
  assert.equal(await cluster.create(configMap('once', { a: '2' })), 'exists')
  assert.deepEqual((await cluster.get(refOf('once')))?.data, { a: '1' })
})

test('a list reads all pages and names the kind of every item', async () => {
  const names = Array.from({ length: 503 }, (_, i) => `page-${i}`)
  for (let i = 0; i < names.length; i += 50)
    await Promise.all(names.slice(i, i + 50).map((name) => cluster.create(configMap(name, {}))))
  const listed = await cluster.list({ apiVersion: 'v1', kind: 'ConfigMap' }, namespace, 'test=list')
  assert.equal(new Set(listed.map(({ metadata }) => metadata.name)).size, names.length + 1)
  assert.ok(listed.every(({ kind, apiVersion }) => kind === 'ConfigMap' && apiVersion === 'v1'))
})

test('applying the same again leaves the resourceVersion as it is', async () => {
  const first = await cluster.apply(configMap('applied', { a: '1' }))
  const second = await cluster.apply(configMap('applied', { a: '1' }))
  assert.equal(second.metadata.resourceVersion, first.metadata.resourceVersion)
})

test('applying without a field removes it, and keeps the fields of others', async () => {
  await cluster.apply(configMap('shared', { ours: '1', alsoOurs: '1' }))
  await server.client().request('PATCH', `/api/v1/namespaces/${namespace}/configmaps/shared`, {
    contentType: 'application/merge-patch+json',
    body: { data: { theirs: '1' } },
  })
  const applied = await cluster.apply(configMap('shared', { ours: '2' }))
  assert.deepEqual(applied.data, { ours: '2', theirs: '1' })
})

test('applying takes over a field that somebody else changed', async () => {
  await cluster.apply(configMap('fought', { a: '1' }))
  await server.client().request('PATCH', `/api/v1/namespaces/${namespace}/configmaps/fought`, {
    contentType: 'application/merge-patch+json',
    body: { data: { a: 'theirs' } },
  })
  assert.deepEqual((await cluster.apply(configMap('fought', { a: '1' }))).data, { a: '1' })
})

test('a deletion meets only the object with its uid', async () => {
  await cluster.create(configMap('doomed', {}))
  const { metadata } = (await cluster.get(refOf('doomed')))!
  const background = { propagationPolicy: 'Background' } as const
  await cluster.delete(refOf('doomed'), { uid: '00000000-0000-0000-0000-000000000000', ...background })
  assert.ok(await cluster.get(refOf('doomed')), 'another uid must not be deleted')
  await cluster.delete(refOf('doomed'), { uid: metadata.uid!, ...background })
  assert.equal(await cluster.get(refOf('doomed')), undefined)
  await cluster.delete(refOf('doomed'), { uid: metadata.uid!, ...background })
})

test('a status written from an old object is a Conflict', async () => {
  const old = await newWidget('stale')
  const fresh = await cluster.writeStatus(old, { copied: 'a' })
  await assert.rejects(cluster.writeStatus(old, { copied: 'b' }), Conflict)
  assert.equal((await cluster.writeStatus(fresh, { copied: 'b' })).status?.copied, 'b')
})

test('a status that is already so is not sent', async () => {
  const made = await newWidget('same')
  const written = await cluster.writeStatus(made, { copied: 'a', conditions: [] })
  const before = mutations
  assert.equal(await cluster.writeStatus(written, { conditions: [], copied: 'a', absent: undefined }), written)
  assert.equal(mutations, before)
})

test('a status write cannot change the spec', async () => {
  const made = await newWidget('spec-safe')
  const written = await cluster.writeStatus({ ...made, spec: { value: 'changed' } }, { copied: 'a' })
  assert.equal(written.spec.value, 'a')
})

test('saying the same reason again counts one Event up', async () => {
  const made = await newWidget('eventful')
  for (const message of ['first', 'second', 'third']) await cluster.event(made, 'Warning', 'Trouble', message)
  await cluster.event(made, 'Normal', 'Fine', 'well again')
  const { items } = await server
    .client()
    .request<{ items: { reason: string; count: number; message: string }[] }>(
      'GET',
      `/api/v1/namespaces/${namespace}/events`,
      { query: { fieldSelector: `involvedObject.uid=${made.metadata.uid}` } },
    )
  assert.deepEqual(
    items.map(({ reason, count, message }) => ({ reason, count, message })).sort((a, b) => a.count - b.count),
    [
      { reason: 'Fine', count: 1, message: 'well again' },
      { reason: 'Trouble', count: 3, message: 'third' },
    ],
  )
})

test('an object that breaks its schema is Invalid and names the field', async () => {
  await assert.rejects(cluster.create(widget(namespace, 'too-long', 'x'.repeat(101))), (error) => {
    assert.ok(error instanceof Invalid)
    assert.match(error.message, /spec\.value/)
    return true
  })
})

test('a used-up quota and a missing permission are Forbidden, in the words of the server', async () => {
  const full = await server.namespace()
  const quota = { apiVersion: 'v1', kind: 'ResourceQuota', namespace: full, name: 'none' }
  const hard = { 'count/configmaps': '0' }
  await cluster.create({ ...quota, metadata: { name: 'none', namespace: full }, spec: { hard } })
  // The quota controller's part: admission counts against status.
  await cluster.writeStatus((await cluster.get(quota))!, { hard, used: { 'count/configmaps': '0' } })
  const { apiVersion, kind } = configMap('', {})
  const named = (name: string) => ({ apiVersion, kind, metadata: { name, namespace: full } })
  let made = 0
  // Admission learns of a new quota by a watch: one that comes too early still gets in.
  await until('the quota refuses', async () => {
    const error = await cluster.create(named(`early-${made++}`)).catch((refusal: unknown) => refusal)
    assert.ok(
      error === 'created' || (error instanceof Forbidden && /exceeded quota: none/.test(error.message)),
      String(error),
    )
    return error !== 'created'
  })
  const nobody = clusterOf({ token: 'nobody' })
  await assert.rejects(
    nobody.create(named('a')),
    (error) => error instanceof Forbidden && /\bnobody\b|Unauthorized/.test(error.message),
  )
})

test('a server that is not there is Unavailable', async () => {
  const nowhere = clusterOf({ port: await freePort() })
  await assert.rejects(nowhere.get(refOf('any')), Unavailable)
})

test('a replica that does not lead sends nothing', async () => {
  leading = false
  const before = mutations
  try {
    await assert.rejects(cluster.create(configMap('unled', {})), NotLeading)
    await assert.rejects(cluster.apply(configMap('unled', {})), NotLeading)
    assert.equal(mutations, before)
    assert.equal(await cluster.get(refOf('unled')), undefined)
  } finally {
    leading = true
  }
})

test('the kinds that the controllers make have the plurals that the server serves', async () => {
  const kinds = [
    ['v1', 'Pod'],
    ['v1', 'ConfigMap'],
    ['v1', 'PersistentVolumeClaim'],
    ['v1', 'Service'],
    ['v1', 'Secret'],
    ['batch/v1', 'Job'],
    ['apps/v1', 'Deployment'],
    ['networking.k8s.io/v1', 'NetworkPolicy'],
    ['policy/v1', 'PodDisruptionBudget'],
    ['humanizer.dev/v1alpha1', 'HumanizerDataset'],
    ['humanizer.dev/v1alpha1', 'QLoRARun'],
    ['humanizer.dev/v1alpha1', 'AdapterRelease'],
    [widgetKind.apiVersion, widgetKind.kind],
  ] as const
  for (const [apiVersion, kind] of kinds) await cluster.list({ apiVersion, kind }, namespace, '')
})
