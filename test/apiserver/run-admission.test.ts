import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { load } from 'js-yaml'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { Invalid } from '../../operator/kube/errors.ts'
import { blocksOf } from '../cluster/commands.ts'
import type { ApiServer } from './api-server.ts'
import { datasetSpec, runSpec, User } from './run-objects.ts'
import { sharedApiServer } from './shared-api-server.ts'
import { type } from './typing.ts'

let server: ApiServer
let user: User
let names = 0

before(async () => {
  server = await sharedApiServer()
  user = new User(server.client(), await server.namespace())
})
after(() => server.stop())

const source = (fields: object) => ({ sources: [{ ...datasetSpec.sources[0], ...fields }] })
const dataset = (fields: object) => ({ ...datasetSpec, ...fields })
const run = (fields: object) => ({ ...runSpec, ...fields })
const http = { url: 'https://example.org/a.jsonl', sha256: 'a'.repeat(64) }

const refused: { kind: 'HumanizerDataset' | 'QLoRARun'; spec: object; says: RegExp }[] = [
  { kind: 'HumanizerDataset', spec: {}, says: /spec\.sources: Required/ },
  { kind: 'HumanizerDataset', spec: { sources: [] }, says: /spec\.sources.*at least 1/ },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [...datasetSpec.sources, ...datasetSpec.sources] },
    says: /spec\.sources\[1\]: Duplicate/,
  },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ decontamination: { sources: datasetSpec.sources } }),
    says: /decontamination\.sources: their names must differ/,
  },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ decontamination: { sources: [{ name: 'set' }] } }),
    says: /exactly one of huggingFace/,
  },
  { kind: 'HumanizerDataset', spec: dataset({ decontamination: { sources: [] } }), says: /at least 1/ },
  { kind: 'HumanizerDataset', spec: source({ name: 'No' }), says: /spec\.sources\[0\]\.name/ },
  { kind: 'HumanizerDataset', spec: source({ http }), says: /exactly one of huggingFace, volume, http and configMap/ },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a' }] },
    says: /exactly one of huggingFace, volume, http and configMap/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', volume: { claimName: 'c', path: '../b' } }] },
    says: /volume\.path.*without ".."/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', volume: { claimName: 'c', path: '/b' } }] },
    says: /volume\.path.*relative/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', http: { ...http, url: 'ftp://x' } }] },
    says: /http\.url/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', http: { ...http, sha256: 'abc' } }] },
    says: /http\.sha256/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', configMap: { name: '../../other/configmaps/x', key: 'a.csv' } }] },
    says: /sources\[0\]\.configMap\.name/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', huggingFace: { repo: 'a/b', tokenSecretRef: { name: 'My Token' } } }] },
    says: /huggingFace\.tokenSecretRef\.name/,
  },
  {
    kind: 'HumanizerDataset',
    spec: { sources: [{ name: 'a', huggingFace: { repo: 'only-a-name' } }] },
    says: /huggingFace\.repo/,
  },
  { kind: 'HumanizerDataset', spec: source({ format: 'XML' }), says: /sources\[0\]\.format/ },
  {
    kind: 'HumanizerDataset',
    spec: source({ keep: { policy: 'Matching', column: 'label' } }),
    says: /policy Matching needs column and values/,
  },
  {
    kind: 'HumanizerDataset',
    spec: source({
      keep: { policy: 'Matching', column: 'a', values: ['b'], conditions: [{ column: 'c', values: ['d'] }] },
    }),
    says: /or conditions in their place/,
  },
  {
    kind: 'HumanizerDataset',
    spec: source({ keep: { policy: 'Matching', conditions: [] } }),
    says: /keep\.conditions.*at least 1/,
  },
  { kind: 'HumanizerDataset', spec: source({ textColumn: '' }), says: /sources\[0\]\.textColumn/ },
  { kind: 'HumanizerDataset', spec: dataset({ memory: '100Mi' }), says: /spec\.memory/ },
  { kind: 'HumanizerDataset', spec: dataset({ memory: '2G' }), says: /spec\.memory/ },
  { kind: 'HumanizerDataset', spec: dataset({ review: { approvedDigest: 'd' } }), says: /review\.approvedDigest/ },
  { kind: 'HumanizerDataset', spec: source({ limit: 0 }), says: /sources\[0\]\.limit/ },
  { kind: 'HumanizerDataset', spec: source({ limit: 1e13 }), says: /sources\[0\]\.limit/ },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ cleaning: { minCharacters: 9000 } }),
    says: /minCharacters must not exceed maxCharacters/,
  },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ deduplication: { nearThreshold: '1.5' } }),
    says: /deduplication\.nearThreshold/,
  },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ deduplication: { nearThreshold: '0.5' } }),
    says: /deduplication\.nearThreshold/,
  },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ deduplication: { nearThreshold: 0.85 } }),
    says: /deduplication\.nearThreshold/,
  },
  { kind: 'HumanizerDataset', spec: dataset({ split: { trainPercent: 0 } }), says: /split\.trainPercent/ },
  { kind: 'HumanizerDataset', spec: dataset({ format: { sample: 'Summary' } }), says: /format\.sample/ },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ format: { userTemplate: 'Rewrite it' } }),
    says: /format\.userTemplate.*must contain \{text\}/,
  },
  { kind: 'HumanizerDataset', spec: dataset({ storage: { claimName: 'A_b' } }), says: /storage\.claimName/ },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ pod: { labels: { 'humanizer.dev/run': 'x' } } }),
    says: /pod\.labels.*humanizer\.dev/,
  },
  { kind: 'QLoRARun', spec: { baseModel: runSpec.baseModel }, says: /spec\.datasetRef: Required/ },
  { kind: 'QLoRARun', spec: run({ datasetRef: { name: 'Not a name' } }), says: /spec\.datasetRef\.name/ },
  { kind: 'QLoRARun', spec: run({ evaluation: { samples: -1 } }), says: /evaluation\.samples/ },
  { kind: 'QLoRARun', spec: run({ evaluation: { samples: 10_001 } }), says: /evaluation\.samples/ },
  {
    kind: 'QLoRARun',
    spec: run({ logging: { weightsAndBiases: { project: 'prose' } } }),
    says: /weightsAndBiases.*secretRef: expected the Secret with the key, or mode Offline/,
  },
  {
    kind: 'QLoRARun',
    spec: run({ logging: { weightsAndBiases: { project: 'a/b', mode: 'Offline' } } }),
    says: /weightsAndBiases\.project/,
  },
  {
    kind: 'QLoRARun',
    spec: run({ logging: { weightsAndBiases: { project: 'a', baseURL: 'ftp://x', secretRef: { name: 'w' } } } }),
    says: /weightsAndBiases\.baseURL/,
  },
  { kind: 'QLoRARun', spec: run({ baseModel: {} }), says: /exactly one of huggingFace, volume and http/ },
  {
    kind: 'QLoRARun',
    spec: run({ baseModel: { ...runSpec.baseModel, http } }),
    says: /exactly one of huggingFace, volume and http/,
  },
  {
    kind: 'QLoRARun',
    spec: run({ baseModel: { volume: { claimName: 'models', path: 'a/../../b' } } }),
    says: /baseModel\.volume\.path.*without ".."/,
  },
  {
    kind: 'QLoRARun',
    spec: run({ pod: { labels: { 'app.kubernetes.io/managed-by': 'me' } } }),
    says: /pod\.labels.*managed-by/,
  },
  { kind: 'QLoRARun', spec: run({ pod: { labels: { team: 'a b' } } }), says: /pod\.labels/ },
  {
    kind: 'QLoRARun',
    spec: run({ pod: { nodeSelector: { ['k'.repeat(318)]: 'a' } } }),
    says: /at most 317 characters/,
  },
  {
    kind: 'HumanizerDataset',
    spec: dataset({ pod: { resources: { limits: { ['k'.repeat(318)]: 1 } } } }),
    says: /at most 317 characters/,
  },
  { kind: 'QLoRARun', spec: run({ quantization: { type: 'FP4' } }), says: /quantization\.type/ },
  { kind: 'QLoRARun', spec: run({ quantization: { blockSize: 63 } }), says: /quantization\.blockSize/ },
  { kind: 'QLoRARun', spec: run({ lora: { rank: 0 } }), says: /lora\.rank/ },
  { kind: 'QLoRARun', spec: run({ lora: { dropout: '1.0' } }), says: /lora\.dropout/ },
  {
    kind: 'QLoRARun',
    spec: run({ lora: { targetModules: ['q_proj', 'q_proj'] } }),
    says: /lora\.targetModules\[1\]: Duplicate/,
  },
  { kind: 'QLoRARun', spec: run({ training: { learningRate: 'fast' } }), says: /training\.learningRate/ },
  { kind: 'QLoRARun', spec: run({ training: { learningRate: '0.0' } }), says: /training\.learningRate.*above 0/ },
  { kind: 'QLoRARun', spec: run({ training: { learningRate: '20' } }), says: /training\.learningRate.*at most 1/ },
  {
    kind: 'QLoRARun',
    spec: run({ training: { learningRateSchedule: 'Step' } }),
    says: /training\.learningRateSchedule/,
  },
  { kind: 'QLoRARun', spec: run({ training: { warmupRatio: '1' } }), says: /training\.warmupRatio/ },
  {
    kind: 'QLoRARun',
    spec: run({ training: { activationCheckpointing: 'Some' } }),
    says: /training\.activationCheckpointing/,
  },
  { kind: 'QLoRARun', spec: run({ training: { microBatchSize: 0 } }), says: /training\.microBatchSize/ },
  { kind: 'QLoRARun', spec: run({ training: { maxSteps: -1 } }), says: /training\.maxSteps/ },
  { kind: 'QLoRARun', spec: run({ checkpoints: { keep: 0 } }), says: /checkpoints\.keep/ },
  { kind: 'QLoRARun', spec: run({ backend: 'TPU' }), says: /spec\.backend/ },
  { kind: 'QLoRARun', spec: run({ backend: 'CUDA' }), says: /spec\.backend.*nvidia\.com\/gpu: 1/ },
  {
    kind: 'QLoRARun',
    spec: run({ backend: 'CUDA', pod: { resources: { limits: { 'amd.com/gpu': 1 } } } }),
    says: /spec\.backend.*CUDA needs a GPU/,
  },
  { kind: 'QLoRARun', spec: run({ maxRetries: -1 }), says: /spec\.maxRetries/ },
  { kind: 'QLoRARun', spec: run({ progressDeadlineSeconds: 1 }), says: /progressDeadlineSeconds/ },
  { kind: 'QLoRARun', spec: run({ pod: { resources: { limits: { memory: 'lots' } } } }), says: /resources\.limits/ },
]
for (const { kind, spec, says } of refused)
  test(`${kind} ${JSON.stringify(spec).slice(0, 120)} is refused: ${says.source}`, async () => {
    await assert.rejects(user.create(kind, `refused-${++names}`, spec), (error) => {
      assert.ok(error instanceof Invalid, String(error))
      assert.match(error.message, says)
      return true
    })
  })

for (const name of ['a'.repeat(41), 'with.dot', '1st'])
  test(`the name ${name} is refused for both kinds`, async () => {
    for (const [kind, spec] of [
      ['HumanizerDataset', datasetSpec],
      ['QLoRARun', runSpec],
    ] as const)
      await assert.rejects(user.create(kind, name, spec), /metadata\.name: at most 40 characters/)
  })

test('a misspelt field is refused when the user asks for strictness', async () => {
  const body = {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'QLoRARun',
    metadata: { name: 'strict' },
    spec: run({ loraa: {} }),
  }
  const path = `/apis/humanizer.dev/v1alpha1/namespaces/${await server.namespace()}/qloraruns`
  await assert.rejects(
    server.client().request('POST', path, { body, query: { fieldValidation: 'Strict' } }),
    /unknown field "spec\.loraa"/,
  )
})

test("the documented defaults are the API server's", async () => {
  await user.create('HumanizerDataset', 'defaults', datasetSpec)
  await user.create('QLoRARun', 'defaults', runSpec)
  const { spec: dataset } = await user.dataset('defaults')
  assert.deepEqual(dataset.cleaning, {
    minCharacters: 50,
    maxCharacters: 8000,
    minWords: 10,
    removeUrls: true,
    removeEmails: true,
  })
  assert.deepEqual(dataset.deduplication, { exact: true, nearThreshold: '0.85', shingleWords: 5 })
  assert.deepEqual([dataset.split, dataset.format.sample], [{ trainPercent: 95, seed: 42 }, 'Identity'])
  assert.deepEqual(
    [dataset.licensePolicy.requireDeclared, dataset.review, dataset.memory],
    [true, { required: false }, '2Gi'],
  )
  const { spec } = await user.run('defaults')
  assert.deepEqual(spec.lora, { rank: 32, alpha: 16, dropout: '0.05', targetModules: [], rankStabilized: false })
  const {
    learningRate,
    learningRateSchedule,
    warmupRatio,
    epochs,
    microBatchSize,
    gradientAccumulation,
    maxSequenceLength,
    activationCheckpointing,
  } = spec.training
  assert.deepEqual(
    [learningRate, learningRateSchedule, warmupRatio, epochs, microBatchSize, gradientAccumulation, maxSequenceLength],
    ['1.5e-4', 'Cosine', '0.03', 2, 4, 4, 1024],
  )
  assert.equal(activationCheckpointing, 'Auto')
  assert.deepEqual(
    [spec.evaluation.everySteps, spec.checkpoints, spec.logging.everySteps],
    [200, { everySteps: 500, keep: 3 }, 25],
  )
})

test('of a source all that is known of its repository can be replaced, as docs/datasets.md says, and its columns of pairs and groups left out', async () => {
  const text = readFileSync(new URL('../../docs/datasets.md', import.meta.url), 'utf8')
  const [{ sources }, { keep }] = blocksOf(text)
    .filter((block) => /^\w+:/.test(block))
    .map((block) => load(block)) as [{ sources: object[] }, { keep: { conditions: object[] } }]
  assert.equal(keep.conditions.length, 2)
  const own = { inputColumn: '', groupColumn: '', keep }
  await user.create('HumanizerDataset', 'own', { sources: [{ ...sources[0], ...own }] })
  assert.partialDeepStrictEqual((await user.dataset('own')).spec.sources[0], own)
})

test('a run can be edited until it has started; then only what does not shape it', async () => {
  await user.create('QLoRARun', 'started', runSpec)
  await user.patch('qloraruns', 'started', { spec: { lora: { rank: 8 } } })
  await user.patch('qloraruns', 'started', { status: { startTime: '2026-01-01T00:00:00Z' } }, '/status')
  const frozen = [
    { datasetRef: { name: 'other' } },
    { baseModel: { volume: { path: 'other.gguf' } } },
    { quantization: { type: 'None' } },
    { lora: { rank: 16 } },
    { training: { seed: 7 } },
    { evaluation: { everySteps: 3 } },
    { checkpoints: { keep: 9 } },
    { earlyStopping: { patience: 9 } },
    { backend: 'CPU' },
    { storage: { claimName: 'other' } },
    { storage: { reclaimPolicy: 'Delete' } },
  ]
  for (const spec of frozen)
    await assert.rejects(
      user.patch('qloraruns', 'started', { spec }),
      /immutable once the run has started/,
      JSON.stringify(spec),
    )
  const free = {
    suspend: true,
    retryToken: 'x',
    maxRetries: 9,
    logging: { everySteps: 1 },
    objective: 'style',
    progressDeadlineSeconds: 99,
    pod: { nodeSelector: { a: 'b' } },
  }
  await user.patch('qloraruns', 'started', { spec: free })
})

for (const [kind, spec] of [
  ['HumanizerDataset', datasetSpec],
  ['QLoRARun', runSpec],
] as const)
  test(`the reclaim policy of a ${kind} is Retain, and never changes since files record it`, async () => {
    const name = `policy-${kind.toLowerCase()}`
    const plural = `${kind.toLowerCase()}s`
    await user.create(kind, name, spec)
    const { spec: made } = await user.get<KubeObject & { spec: { storage: object } }>(plural, name)
    assert.deepEqual(made.storage, { claimName: 'humanizer', reclaimPolicy: 'Retain' })
    await assert.rejects(
      user.patch(plural, name, { spec: { storage: { reclaimPolicy: 'Delete' } } }),
      /reclaimPolicy: Invalid value.*immutable, since the files record it/,
    )
    await user.create(kind, `${name}-delete`, { ...spec, storage: { reclaimPolicy: 'Delete' } })
  })

test('a dataset stays on its claim from its first preparation on, and nothing else is frozen', async () => {
  await user.create('HumanizerDataset', 'preparing', datasetSpec)
  await user.patch('humanizerdatasets', 'preparing', { spec: { storage: { claimName: 'free' } } })
  const attempts = [{ number: 1, specHash: 'sha256:x', startTime: '2026-01-01T00:00:00Z' }]
  await user.patch('humanizerdatasets', 'preparing', { status: { attempts } }, '/status')
  await assert.rejects(
    user.patch('humanizerdatasets', 'preparing', { spec: { storage: { claimName: 'other' } } }),
    /spec\.storage: immutable once a preparation has begun/,
  )
  await user.patch('humanizerdatasets', 'preparing', { spec: { cleaning: { minWords: 3 } } })
})

test('what docs/training.md says to type makes the three objects, and suspends, resumes and retries the run', async () => {
  const namespace = await server.namespace()
  const text = readFileSync(new URL('../../docs/training.md', import.meta.url), 'utf8')
  const [make, watch, suspend, retry, ...others] = blocksOf(text)
  assert.deepEqual(others, [])
  for (const file of ['run', 'events', 'logs']) assert.match(watch!, new RegExp(file))
  const printed = await type(server, `cd "$PROJECT"\n${make}\n${suspend}\n${retry}`, { namespace })
  for (const made of ['secret/hugging-face', 'humanizerdataset', 'qlorarun', 'adapterrelease'])
    assert.match(printed, new RegExp(`${made}[^ ]* created`))
  assert.equal(printed.match(/llama patched/g)?.length, 3)
  const names = await type(server, 'kubectl get hds,qlr,arl --output name', { namespace })
  assert.deepEqual(
    names
      .trim()
      .split('\n')
      .map((name) => name.split('/')[1]),
    ['human', 'llama', 'humanizer'],
  )
})
