/** What the API server itself says about an AdapterRelease, before any operator sees it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { after, before, test } from 'node:test'
import { load } from 'js-yaml'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { blocksOf } from '../cluster/commands.ts'
import type { ApiServer } from './api-server.ts'
import { digest, gate, refused, run } from './refused-releases.ts'
import { sharedApiServer } from './shared-api-server.ts'

let server: ApiServer
let path: string

before(async () => {
  server = await sharedApiServer()
  path = `/apis/humanizer.dev/v1alpha1/namespaces/${await server.namespace()}/adapterreleases`
})
after(() => server.stop())

async function create(
  spec: unknown,
  name = 'writer',
  query = '?dryRun=All&fieldValidation=Strict',
): Promise<AdapterRelease> {
  const body = { apiVersion: 'humanizer.dev/v1alpha1', kind: 'AdapterRelease', metadata: { name }, spec }
  return server.client().request<AdapterRelease>('POST', `${path}${query}`, { body })
}

for (const { what, spec, name, says } of refused)
  test(`${what} is refused, and the words name the field`, async () => {
    await assert.rejects(create(spec, name), (error: Error) => {
      assert.match(error.message, says)
      return true
    })
  })

test('three lines are a release; the rest has defaults', async () => {
  const { spec } = await create({ source: run })
  assert.deepEqual(spec, {
    source: { run: { name: 'prose', checkpoint: 'Best' } },
    form: 'Adapter',
    rollback: { mode: 'Automatic', to: 'Previous', windowSeconds: 1800, maxRestarts: 2, minRequests: 20 },
    serving: { port: 8000 },
    pod: {},
    storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
  })
})

test('the examples of docs/push.md are accepted as they stand', async () => {
  const text = readFileSync(new URL('../../docs/push.md', import.meta.url), 'utf8')
  const examples = blocksOf(text).filter((block) => block.startsWith('spec:'))
  assert.equal(examples.length, 2)
  for (const example of examples) {
    const { spec } = load(example) as { spec: Pick<AdapterRelease['spec'], 'push'> }
    const { push } = (await create({ source: run, ...spec })).spec
    assert.equal(push?.artifact, 'Adapter')
  }
})

test('everything that can be said is accepted', async () => {
  const spec = {
    source: { digest },
    gates: [{ metric: 'evalLoss', maxRegression: '-1.5e-2', against: 'Baseline', enforcement: 'Warn' }, gate],
    serving: {
      replicas: 2,
      port: 8080,
      modelName: 'Team/Writer-1',
      maxContextTokens: 2048,
      clients: [{ namespace: 'web', podLabels: { app: 'x' } }],
    },
    pod: {
      resources: { requests: { cpu: 2, memory: '1.5Gi' }, limits: { 'nvidia.com/gpu': 1 } },
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ key: 'gpu', operator: 'Exists', effect: 'NoSchedule' }],
      affinity: { nodeAffinity: { anything: ['is', 'kept'] } },
      imagePullSecrets: [{ name: 'pull' }],
      labels: { 'kueue.x-k8s.io/queue-name': 'team' },
    },
    storage: { claimName: 'models' },
  }
  const created = await create(spec)
  assert.deepEqual(created.spec.pod.affinity, spec.pod.affinity)
  assert.equal(created.spec.gates?.[1]?.enforcement, 'Enforce')
})

test('kubectl get shows Ready, Active, Candidate, Reason, Endpoint and Age', async () => {
  const { clusters, users } = JSON.parse(server.kubeConfig())
  const text = await new Promise<string>((resolve, reject) => {
    get(
      `${clusters[0].cluster.server}${path}`,
      {
        ca: readFileSync(clusters[0].cluster['certificate-authority']),
        headers: {
          authorization: `Bearer ${users[0].user.token}`,
          accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
        },
      },
      (response) => {
        let body = ''
        response.on('data', (chunk) => {
          body += chunk
        })
        response.on('end', () => resolve(body))
      },
    ).on('error', reject)
  })
  const columns = JSON.parse(text).columnDefinitions.map(({ name }: { name: string }) => name)
  assert.deepEqual(columns, ['Name', 'Ready', 'Active', 'Candidate', 'Reason', 'Endpoint', 'Age'])
})

test('an autoscaler can scale the object through its scale subresource', async () => {
  await create({ source: run, serving: { replicas: 2 } }, 'scaled', '')
  const scale = await server.client().request<{ spec: { replicas: number } }>('GET', `${path}/scaled/scale`)
  assert.equal(scale.spec.replicas, 2)
})
