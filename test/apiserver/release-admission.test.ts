/** What the API server itself says about an AdapterRelease, before any operator sees it. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { get } from 'node:https'
import { after, before, test } from 'node:test'
import { load } from 'js-yaml'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { blocksOf } from '../cluster/commands.ts'
import type { ApiServer } from './api-server.ts'
import { sharedApiServer } from './shared-api-server.ts'

let server: ApiServer
let path: string

before(async () => {
  server = await sharedApiServer()
  path = `/apis/humanizer.dev/v1alpha1/namespaces/${await server.namespace()}/adapterreleases`
})
after(() => server.stop())

const digest = `sha256:${'a'.repeat(64)}`
const run = { run: { name: 'prose' } }
const gate = { metric: 'evalLoss', max: '2.0' }

async function create(
  spec: unknown,
  name = 'writer',
  query = '?dryRun=All&fieldValidation=Strict',
): Promise<AdapterRelease> {
  const body = { apiVersion: 'humanizer.dev/v1alpha1', kind: 'AdapterRelease', metadata: { name }, spec }
  return server.client().request<AdapterRelease>('POST', `${path}${query}`, { body })
}

const refused: { what: string; spec: unknown; name?: string; says: RegExp }[] = [
  { what: 'no spec', spec: undefined, says: /spec: Required/ },
  { what: 'no source', spec: {}, says: /spec.source: Required/ },
  { what: 'an empty source', spec: { source: {} }, says: /exactly one of run, digest and base/ },
  { what: 'two sources', spec: { source: { ...run, digest } }, says: /exactly one of run, digest and base/ },
  { what: 'base false', spec: { source: { base: false } }, says: /spec.source.base: expected true/ },
  { what: 'a run without a name', spec: { source: { run: { checkpoint: 'Best' } } }, says: /run.name: Required/ },
  { what: 'a run name in capitals', spec: { source: { run: { name: 'Prose' } } }, says: /spec.source.run.name/ },
  {
    what: 'a checkpoint that is no name',
    spec: { source: { run: { name: 'prose', checkpoint: 'best' } } },
    says: /checkpoint/,
  },
  {
    what: 'checkpoint-0',
    spec: { source: { run: { name: 'prose', checkpoint: 'checkpoint-0' } } },
    says: /checkpoint/,
  },
  { what: 'a short digest', spec: { source: { digest: 'sha256:abc' } }, says: /spec.source.digest/ },
  { what: 'a digest in capitals', spec: { source: { digest: digest.toUpperCase() } }, says: /spec.source.digest/ },
  {
    what: 'a gate without a bound',
    spec: { source: run, gates: [{ metric: 'evalLoss' }] },
    says: /exactly one of max, min and maxRegression/,
  },
  {
    what: 'a gate with two bounds',
    spec: { source: run, gates: [{ ...gate, maxRegression: '0', against: 'Active' }] },
    says: /exactly one of max, min and maxRegression/,
  },
  {
    what: 'a regression against nothing',
    spec: { source: run, gates: [{ metric: 'evalLoss', maxRegression: '0' }] },
    says: /against/,
  },
  {
    what: 'a maximum against something',
    spec: { source: run, gates: [{ ...gate, against: 'Active' }] },
    says: /against/,
  },
  {
    what: 'a metric that is no name',
    spec: { source: run, gates: [{ metric: 'eval loss', max: '1' }] },
    says: /spec.gates\[0\].metric/,
  },
  {
    what: 'a bound that is a number',
    spec: { source: run, gates: [{ metric: 'evalLoss', max: 2 }] },
    says: /max.*string/,
  },
  {
    what: 'a minimum beside a maximum',
    spec: { source: run, gates: [{ ...gate, min: '0' }] },
    says: /exactly one of max, min and maxRegression/,
  },
  {
    what: 'an unknown enforcement',
    spec: { source: run, gates: [{ ...gate, enforcement: 'Maybe' }] },
    says: /enforcement/,
  },
  { what: 'seventeen gates', spec: { source: run, gates: Array(17).fill(gate) }, says: /gates: Too many/ },
  {
    what: 'VLLM without an image',
    spec: { source: run, serving: { engine: 'VLLM' } },
    says: /vllm goes with engine VLLM/,
  },
  { what: 'a vLLM for our engine', spec: { source: run, serving: { vllm: { image: 'v' } } }, says: /only with it/ },
  {
    what: 'merged weights on vLLM',
    spec: { source: run, form: 'Merged', serving: { engine: 'VLLM', vllm: { image: 'v' } } },
    says: /Merged goes with spec.serving.engine Native/,
  },
  {
    what: 'a rank that vLLM does not know',
    spec: { source: run, serving: { engine: 'VLLM', vllm: { image: 'v', maxLoraRank: 48 } } },
    says: /maxLoraRank/,
  },
  { what: 'a push to nowhere', spec: { source: run, push: {} }, says: /exactly one of registry and s3/ },
  {
    what: 'a push to two places',
    spec: {
      source: run,
      push: { registry: { repository: 'ghcr.io/team/writer' }, s3: { bucket: 'models', secretRef: { name: 'aws' } } },
    },
    says: /exactly one of registry and s3/,
  },
  {
    what: 'a push to S3 without credentials',
    spec: { source: run, push: { s3: { bucket: 'models' } } },
    says: /spec.push.s3.secretRef: Required/,
  },
  {
    what: 'a prefix that begins with a slash',
    spec: { source: run, push: { s3: { bucket: 'models', prefix: '/a', secretRef: { name: 'aws' } } } },
    says: /spec.push.s3.prefix/,
  },
  {
    what: 'an endpoint with a path',
    spec: { source: run, push: { s3: { bucket: 'models', endpoint: 'https://a/b', secretRef: { name: 'aws' } } } },
    says: /spec.push.s3.endpoint/,
  },
  {
    what: 'a push to a tag',
    spec: { source: run, push: { registry: { repository: 'ghcr.io/team/writer:latest' } } },
    says: /spec.push.registry.repository/,
  },
  {
    what: 'a push of something else',
    spec: { source: run, push: { artifact: 'Weights', registry: { repository: 'ghcr.io/team/writer' } } },
    says: /spec.push.artifact/,
  },
  {
    what: 'a push with a Secret of another namespace',
    spec: {
      source: run,
      push: { registry: { repository: 'ghcr.io/team/writer', secretRef: { name: 'a', namespace: 'b' } } },
    },
    says: /unknown field "spec.push.registry.secretRef.namespace"/,
  },
  { what: 'an unknown form', spec: { source: run, form: 'merged' }, says: /spec.form/ },
  { what: 'an unknown way to go back', spec: { source: run, rollback: { mode: 'Maybe' } }, says: /spec.rollback.mode/ },
  { what: 'a limit in words', spec: { source: run, rollback: { maxErrorPercent: 'five' } }, says: /maxErrorPercent/ },
  { what: 'no replicas at all', spec: { source: run, serving: { replicas: 0 } }, says: /replicas/ },
  { what: 'too many replicas', spec: { source: run, serving: { replicas: 65 } }, says: /replicas/ },
  { what: 'a privileged port', spec: { source: run, serving: { port: 80 } }, says: /port/ },
  { what: 'the port of the signed calls', spec: { source: run, serving: { port: 9443 } }, says: /9443 is taken/ },
  { what: 'a model name with blanks', spec: { source: run, serving: { modelName: 'my model' } }, says: /modelName/ },
  {
    what: 'a quantity that is none',
    spec: { source: run, pod: { resources: { limits: { cpu: 'many' } } } },
    says: /limits/,
  },
  {
    what: 'a misspelt field',
    spec: { source: run, serving: { replica: 1 } },
    says: /unknown field "spec.serving.replica"/,
  },
  {
    what: 'a third reclaim policy',
    spec: { source: run, storage: { reclaimPolicy: 'Recycle' } },
    says: /reclaimPolicy/,
  },
  {
    what: 'a claim name that is no label value',
    spec: { source: run, storage: { claimName: 'a'.repeat(64) } },
    says: /claimName: Too long/,
  },
  { what: 'a claim name with dots', spec: { source: run, storage: { claimName: 'a.b' } }, says: /claimName/ },
  {
    what: "a label of the operator's own",
    spec: { source: run, pod: { labels: { 'humanizer.dev/release': 'x' } } },
    says: /labels must not start with humanizer.dev/,
  },
  {
    what: 'the label that says who manages it',
    spec: { source: run, pod: { labels: { 'app.kubernetes.io/managed-by': 'helm' } } },
    says: /labels must not start with humanizer.dev/,
  },
  {
    what: 'a label whose value is none',
    spec: { source: run, pod: { labels: { team: 'a b' } } },
    says: /spec.pod.labels.team/,
  },
  {
    what: 'an affinity of four kinds',
    spec: { source: run, pod: { affinity: { a: {}, b: {}, c: {}, d: {} } } },
    says: /affinity: Too many/,
  },
  {
    what: 'a runtime class in capitals',
    spec: { source: run, pod: { runtimeClassName: 'NVIDIA' } },
    says: /runtimeClassName/,
  },
  { what: 'a claim name with a slash', spec: { source: run, storage: { claimName: 'a/b' } }, says: /claimName/ },
  {
    what: 'a name of 41 characters',
    spec: { source: run },
    name: 'a'.repeat(41),
    says: /metadata.name: expected at most 40/,
  },
  { what: 'a name that begins with a digit', spec: { source: run }, name: '1a', says: /metadata.name/ },
]
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
