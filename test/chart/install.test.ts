/** The chart on a real API server: install, upgrade, uninstall, reinstall, and the operator with no more rights than the chart gives. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { datasetController } from '../../operator/dataset/controller.ts'
import { loadKubeConfig } from '../../operator/kube/client.ts'
import { HumanizerOperator } from '../../operator/operator.ts'
import { releaseController } from '../../operator/release/controller.ts'
import { runController } from '../../operator/run/controller.ts'
import { settingsFrom } from '../../operator/settings.ts'
import { type ApiServer, startApiServer, until } from '../apiserver/api-server.ts'
import { ServingPods } from '../apiserver/serving-stand-in.ts'
import { silent } from '../apiserver/widget.ts'
import { chart, helm, type Manifest } from './helm.ts'

const namespace = 'humanizer-system'
const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
const secretPath = `/api/v1/namespaces/${namespace}/secrets/humanizer-signing-key`
let server: ApiServer

before(async () => {
  server = await startApiServer({ controllerManager: true, bare: true })
})
after(() => server.stop())

const get = (path: string, verb: 'GET' | 'DELETE' = 'GET'): Promise<Manifest> => server.client().request(verb, path)
const crdNames = async (): Promise<string[]> => (await get(crds)).items.map(({ metadata }: Manifest) => metadata.name)
const onServer = (...args: string[]): Promise<string> => helm(...args, '--kubeconfig', server.kubeConfigFile())
const install = (release: string, into: string, ...flags: string[]): Promise<string> =>
  onServer('upgrade', '--install', release, chart, '--namespace', into, '--create-namespace', ...flags)

test('it installs, and says what to do next', async () => {
  const notes = await install('humanizer', namespace)
  assert.match(notes, /helm test humanizer --namespace humanizer-system/)
  assert.match(notes, /kubectl get hds,qlr,arl/)
  assert.deepEqual((await crdNames()).sort(), [
    'adapterreleases.humanizer.dev',
    'humanizerdatasets.humanizer.dev',
    'qloraruns.humanizer.dev',
  ])
})

test('an upgrade keeps the signing key and changes what was asked for', async () => {
  const before = (await get(secretPath)).data
  await install('humanizer', namespace, '--set', 'operator.replicas=2')
  assert.deepEqual((await get(secretPath)).data, before)
  assert.equal((await get(`/apis/apps/v1/namespaces/${namespace}/deployments/humanizer`)).spec.replicas, 2)
})

test('the three controllers can do their work with the rights of the chart and no others', async () => {
  const { status } = await server
    .client()
    .request<Manifest>('POST', `/api/v1/namespaces/${namespace}/serviceaccounts/humanizer/token`, {
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    })
  const key = Buffer.from((await get(secretPath)).data['ed25519.pem'], 'base64').toString()
  const env = {
    POD_NAMESPACE: namespace,
    POD_NAME: 'operator-0',
    TRAINER_IMAGE: 'trainer:1',
    SIGNING_KEY_FILE: 'key',
    METRICS_PORT: '0',
    HEALTH_PORT: '0',
  }
  const operator = new HumanizerOperator(
    settingsFrom(env, () => key),
    loadKubeConfig({ text: server.kubeConfig({ token: status.token }) }),
    [datasetController, runController, releaseController],
    silent,
  )
  const team = await server.namespace()
  const pods = new ServingPods(server.client(), team)
  const path = (plural: string) => `/apis/humanizer.dev/v1alpha1/namespaces/${team}/${plural}`
  const create = (kind: string, plural: string, name: string, spec: object): Promise<Manifest> =>
    server.client().request('POST', path(plural), {
      body: { apiVersion: 'humanizer.dev/v1alpha1', kind, metadata: { name }, spec },
    })
  await operator.start()
  try {
    await until('it is ready', async () => (await fetch(`http://127.0.0.1:${operator.ports.health}/readyz`)).ok)
    await create('HumanizerDataset', 'humanizerdatasets', 'prose', {
      sources: [{ name: 'books', http: { url: 'http://files/prose.jsonl', sha256: '0'.repeat(64) } }],
    })
    const jobs = `/apis/batch/v1/namespaces/${team}/jobs`
    await until('the preparation has a Job', async () => (await get(jobs)).items.length === 1)
    assert.equal(
      (await get(`/api/v1/namespaces/${team}/persistentvolumeclaims/humanizer`)).kind,
      'PersistentVolumeClaim',
    )

    const run = await create('QLoRARun', 'qloraruns', 'done', {
      suspend: true,
      datasetRef: { name: 'prose' },
      baseModel: { volume: { claimName: 'humanizer', path: 'base.gguf' } },
    })
    await until(
      'the run is seen',
      async () => (await get(`${path('qloraruns')}/done`)).status?.conditions !== undefined,
    )
    await finish(`${path('qloraruns')}/done/status`, run.metadata.name)
    await create('AdapterRelease', 'adapterreleases', 'writer', { source: { run: { name: 'done' } } })
    await until('the release serves', async () => {
      const { status } = (await get(`${path('adapterreleases')}/writer`)) as AdapterRelease
      return status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false
    })
    await until('an Event is told', async () => (await get(`/api/v1/namespaces/${team}/events`)).items.length > 0)
    const text = await (await fetch(`http://127.0.0.1:${operator.ports.metrics}/metrics`)).text()
    assert.doesNotMatch(text, /humanizer_api_calls_total\{[^}]*code="403"/)
    assert.match(text, /humanizer_api_calls_total\{[^}]*verb="PATCH"[^}]*code="20/)
  } finally {
    await operator.stop()
    await pods.stop()
  }
})

/** Writes the status that a run has when it has succeeded; again when the operator wrote in between. */
async function finish(path: string, name: string): Promise<void> {
  const adapter = { digest: `sha256:${'b'.repeat(64)}`, path: 'runs/done/checkpoint-24' }
  const status = {
    observedGeneration: 1,
    completionTime: '2026-01-01T00:00:00Z',
    conditions: [
      ...['Succeeded', 'Ready'].map((type) => ({
        ...{ type, status: 'True', reason: 'Completed', message: name, observedGeneration: 1 },
        lastTransitionTime: '2026-01-01T00:00:00Z',
      })),
    ],
    baseline: { loss: '2.0' },
    model: { path: 'base.gguf', digest: `sha256:${'e'.repeat(64)}` },
    checkpoints: [{ name: 'checkpoint-24', step: 24, evalLoss: '1.8', best: true, ...adapter }],
  }
  await server.client().request('PATCH', path, { contentType: 'application/merge-patch+json', body: { status } })
}

test('uninstalling keeps the CRDs and the objects of the users', async () => {
  const releases = '/apis/humanizer.dev/v1alpha1/adapterreleases'
  const before = (await get(releases)).items.length
  await onServer('uninstall', 'humanizer', '--namespace', namespace)
  assert.equal((await crdNames()).length, 3)
  assert.equal((await get(releases)).items.length, before)
  const { items } = await get('/apis/rbac.authorization.k8s.io/v1/clusterroles')
  assert.equal(items.filter(({ metadata }: Manifest) => /humanizer/.test(metadata.name)).length, 0)
})

test('reinstalling under the same name needs nothing, and finds the objects of the users', async () => {
  await install('humanizer', namespace)
  assert.notEqual((await get('/apis/humanizer.dev/v1alpha1/adapterreleases')).items.length, 0)
  await onServer('uninstall', 'humanizer', '--namespace', namespace)
})

test('reinstalling under another name is refused until the CRDs are handed over, as the README says', async () => {
  await assert.rejects(install('other', 'elsewhere'), /invalid ownership metadata/)
  await install('other', 'elsewhere', '--take-ownership')
  const { metadata } = await get(`${crds}/qloraruns.humanizer.dev`)
  assert.equal(metadata.annotations['meta.helm.sh/release-name'], 'other')
  await onServer('uninstall', 'other', '--namespace', 'elsewhere')
  for (const name of await crdNames())
    await server.client().request('PATCH', `${crds}/${name}`, {
      contentType: 'application/merge-patch+json',
      body: {
        metadata: {
          annotations: { 'meta.helm.sh/release-name': 'third', 'meta.helm.sh/release-namespace': 'anywhere' },
        },
      },
    })
  await install('third', 'anywhere')
})

test('without keep everything goes with the release', async () => {
  await install('third', 'anywhere', '--set', 'crds.keep=false')
  await onServer('uninstall', 'third', '--namespace', 'anywhere')
  await until('no CRD is left', async () => (await crdNames()).length === 0)
})
