/** The schemas as users read them: every field is described and bounded, every column leads somewhere, every field of a spec does something. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { load } from 'js-yaml'
import { specHash } from '../dataset/prepare-config.ts'
import { prepareChildren } from '../dataset/prepare-job.ts'
import { statusAfter } from '../dataset/status.ts'
import type { Adapter, Release } from '../release/adapter.ts'
import { digestOf, release } from '../release/objects.ts'
import { pushChildren } from '../release/push-job.ts'
import { endpointOf, servingObjects } from '../release/serving.ts'
import { checklistOf } from '../run/checklist.ts'
import { datasetObstacle } from '../run/dataset-gate.ts'
import { fetchChildren } from '../run/fetch-job.ts'
import { configDigest } from '../run/train-config.ts'
import { trainChildren } from '../run/train-job.ts'
import { dataset, run, start } from '../run/world.ts'
import { reclaimOf } from '../workload/reclaim.ts'
import type { HumanizerDataset, HumanizerDatasetSpec } from './generated/humanizerdataset.ts'
import type { QLoRARun, QLoRARunSpec } from './generated/qlorarun.ts'

interface Schema {
  readonly type?: string
  readonly description?: string
  readonly enum?: readonly string[]
  readonly properties?: Readonly<Record<string, Schema>>
  readonly items?: Schema
  readonly additionalProperties?: Schema
  readonly [keyword: string]: unknown
}
interface Version {
  readonly schema: { readonly openAPIV3Schema: Schema }
  readonly additionalPrinterColumns: readonly { readonly name: string; readonly jsonPath: string }[]
}

const kinds = ['humanizerdataset', 'qlorarun', 'adapterrelease'] as const
const versionOf = (kind: (typeof kinds)[number]): Version => {
  const file = new URL(`../../crds/${kind}.yaml`, import.meta.url)
  return (load(readFileSync(file, 'utf8')) as { spec: { versions: Version[] } }).spec.versions[0]!
}
const partOf = (kind: (typeof kinds)[number], part: 'spec' | 'status'): Schema =>
  versionOf(kind).schema.openAPIV3Schema.properties![part]!

/** Every schema below, by its path; items of lists and maps have none of their own. */
function* below(schema: Schema, path: string): Generator<readonly [string, Schema, isField: boolean]> {
  yield [path, schema, true]
  for (const [name, field] of Object.entries(schema.properties ?? {})) yield* below(field, `${path}.${name}`)
  for (const item of [schema.items, schema.additionalProperties]) {
    if (!item) continue
    const [[, own], ...rest] = [...below(item, path)] as [
      readonly [string, Schema, boolean],
      ...[string, Schema, boolean][],
    ]
    yield [path, own, false]
    yield* rest
  }
}

/** What an object of 64 KiB and a rule of CEL cannot do without. */
function unbounded({ type, format, ...schema }: Schema): string | undefined {
  const lacks = (...keywords: string[]) => keywords.find((keyword) => schema[keyword] === undefined)
  if (schema.enum) return undefined
  if (type === 'string' && format !== 'date-time') return lacks('maxLength')
  if (type === 'array') return lacks('maxItems', 'x-kubernetes-list-type')
  if (type === 'object' && schema.additionalProperties) return lacks('maxProperties')
  return type === 'number' ? 'a type without floats' : undefined
}

for (const kind of kinds) {
  test(`every field of a ${kind} is described and bounded`, () => {
    const wrong = (['spec', 'status'] as const).flatMap((part) =>
      [...below(partOf(kind, part), part)].flatMap(([path, schema, isField]) => [
        ...(isField && !schema.description ? [`${path} has no description`] : []),
        ...(unbounded(schema) ? [`${path} lacks ${unbounded(schema)}`] : []),
      ]),
    )
    assert.deepEqual(wrong, [])
  })

  test(`every column of a ${kind} is a field`, () => {
    const fields = new Set(
      [...below(partOf(kind, 'status'), '.status'), ...below(partOf(kind, 'spec'), '.spec')].map(([path]) => path),
    )
    const columns = versionOf(kind).additionalPrinterColumns.map(({ jsonPath }) => jsonPath)
    const unknown = columns.filter(
      (path) => !/^\.status\.conditions\[|^\.metadata\.creationTimestamp$/.test(path) && !fields.has(path),
    )
    assert.deepEqual(unknown, [])
  })
}

type Json = Readonly<Record<string, unknown>>

/** The same object with the value at each place of `path` changed, lists gone into; undefined where it has none. */
function changed(object: unknown, [name, ...rest]: readonly string[], schema: Schema): unknown {
  if (Array.isArray(object)) {
    const items = object.map((item) => changed(item, [name!, ...rest], schema))
    return items.some((item) => item !== undefined) ? items.map((item, index) => item ?? object[index]) : undefined
  }
  const value = (object as Json | undefined)?.[name!]
  if (value === undefined) return undefined
  const next = rest.length > 0 ? changed(value, rest, schema) : another(value, schema)
  return next === undefined ? undefined : { ...(object as Json), [name!]: next }
}

function another(value: unknown, schema: Schema): unknown {
  if (typeof value === 'boolean') return !value
  if (typeof value === 'number') return value + 1
  if (Array.isArray(value))
    return [...value, typeof value[0] === 'object' ? { ...value[0], name: 'another' } : 'another']
  if (typeof value === 'object') return { ...value, another: '1' }
  const text = String(value)
  if (schema.enum) return schema.enum.find((each) => each !== text)
  return /^[0-9.]+$/.test(text) ? String(Number(text) + 0.5) : text.replace(/.$/, (last) => (last === '1' ? '2' : '1'))
}

/** Paths of leaves: what a user sets. */
const leavesOf = (spec: Schema): readonly (readonly [string, Schema])[] =>
  [...below(spec, '')].flatMap(([path, schema, isField]) =>
    isField && !schema.properties && !schema.items?.properties ? [[path.slice(1), schema] as const] : [],
  )

/** Paths whose change changes nothing of `effect` in any sample. */
function idle<Spec>(kind: (typeof kinds)[number], samples: readonly Spec[], effect: (spec: Spec) => unknown): string[] {
  const before = samples.map((spec) => JSON.stringify(effect(spec)))
  return leavesOf(partOf(kind, 'spec'))
    .filter(([path, schema]) =>
      samples.every((spec, index) => {
        const next = changed(spec, path.split('.'), schema)
        return next === undefined || JSON.stringify(effect(next as Spec)) === before[index]
      }),
    )
    .map(([path]) => path)
}

const settings = { trainerImage: 'i', trainerImagePullPolicy: 'Always', publicKeyPem: 'key', namespace: 'system' }
const claim = { name: 'humanizer', singleNode: false }
const pod: HumanizerDatasetSpec['pod'] = {
  resources: { limits: { memory: '1Gi' }, requests: { cpu: '1' } },
  nodeSelector: { disk: 'ssd' },
  tolerations: [{ key: 'a', operator: 'Equal', value: 'b', effect: 'NoExecute', tolerationSeconds: 5 }],
  affinity: { nodeAffinity: {} },
  runtimeClassName: 'nvidia',
  priorityClassName: 'high',
  imagePullSecrets: [{ name: 'pull' }],
  labels: { team: 'a' },
}

test('every field of a dataset changes what is made, or what is said of it', () => {
  const condition = { column: 'model', values: ['human'] }
  const keep = { policy: 'Matching' as const, ...condition, conditions: [condition] }
  const every = {
    format: 'CSV' as const,
    textColumn: 't',
    inputColumn: 'i',
    groupColumn: 'g',
    keep,
    license: 'MIT',
    limit: 5,
  }
  const sources: HumanizerDatasetSpec['sources'] = [
    {
      ...every,
      name: 'hub',
      huggingFace: { repo: 'a/b', revision: 'main', files: ['x'], tokenSecretRef: { name: 's', key: 'k' } },
    },
    { ...every, name: 'shelf', volume: { claimName: 'c', path: 'p' } },
    { ...every, name: 'far', http: { url: 'https://example.org/a.csv', sha256: '0'.repeat(64) } },
    { ...every, name: 'note', configMap: { name: 'n', key: 'a.csv' } },
  ]
  const { spec, status } = dataset()
  const full = {
    ...spec,
    sources,
    cleaning: { ...spec.cleaning, languages: ['en'] },
    decontamination: { sources: sources.map((source) => ({ ...source, name: `${source.name}-set` })), ngramWords: 13 },
    format: { ...spec.format, chatTemplate: 'x' },
    licensePolicy: { requireDeclared: true, allowed: ['MIT'] },
    review: { required: true, approvedDigest: digestOf('e'), approvedBy: 'ann' },
    pod,
  } as HumanizerDatasetSpec
  const effect = (of: HumanizerDatasetSpec) => {
    const given: HumanizerDataset = { ...dataset(), spec: of, status: { ...status } }
    const trained = run({}, { startTime: start.toISOString(), datasetDigest: digestOf('e') })
    return [
      // Not its hash, which is another whatever becomes of a field.
      JSON.stringify(prepareChildren(given, 1, claim, settings, reclaimOf(given))).replaceAll(specHash(of), ''),
      datasetObstacle(trained, given),
      checklistOf(trained, trained.status!, { dataset: given, releases: [] }),
      statusAfter(given, { kind: 'ready' }, start),
    ]
  }
  // decide.test.ts: a failed preparation is tried again when it changes.
  assert.deepEqual(idle('humanizerdataset', [full], effect), ['retryToken'])
})

test('every field of a run changes what is made, or is what its decisions are made by', () => {
  const { spec } = run()
  const token = { name: 's', key: 'k' }
  const tracked = {
    project: 'p',
    entity: 'e',
    baseURL: 'https://wandb',
    mode: 'Online',
    samples: false,
    secretRef: token,
  }
  const bases: QLoRARunSpec['baseModel'][] = [
    { huggingFace: { repo: 'a/b', revision: 'main', tokenSecretRef: token } },
    { volume: { claimName: 'c', path: 'p' } },
    { http: { url: 'https://example.org/a.gguf', sha256: '0'.repeat(64) } },
  ]
  const samples = bases.map((baseModel) => ({
    ...spec,
    baseModel,
    objective: 'o',
    lora: { ...spec.lora, targetModules: ['q_proj'] },
    training: { ...spec.training, maxSteps: 5 },
    evaluation: { ...spec.evaluation, maxTokens: 5, samples: 5 },
    logging: { ...spec.logging, weightsAndBiases: tracked },
    pod,
  })) as QLoRARunSpec[]
  const effect = (of: QLoRARunSpec) => {
    const given: QLoRARun = run(of)
    const { microBatchSize, gradientAccumulation } = of.training
    return [
      fetchChildren(given, 1, claim, settings, reclaimOf(given)),
      trainChildren(given, 1, { microBatchSize, gradientAccumulation }, claim, settings, reclaimOf(given)),
      configDigest(given),
    ]
  }
  // decide.test.ts has those that decide; claims are read, not rendered.
  assert.deepEqual(idle('qlorarun', samples, effect), [
    'datasetRef.name',
    'suspend',
    'maxRetries',
    'retryToken',
    'progressDeadlineSeconds',
    'storage.claimName',
  ])
})

test('every field of a release changes what is made, or is what its decisions are made by', () => {
  const serving = {
    replicas: 1,
    port: 8000,
    modelName: 'm',
    maxContextTokens: 64,
    clients: [{ namespace: 'n', podLabels: { app: 'a' } }],
  }
  const vllm = { image: 'vllm:1', maxLoraRank: 64, args: ['--a'] }
  const registry = { repository: 'r/a', plainHttp: false, secretRef: { name: 's', key: 'k' } }
  const s3 = { bucket: 'b', prefix: 'p', region: 'r', endpoint: 'https://s3', secretRef: { name: 's' } }
  const given = release({ pod }).spec
  const samples = [
    {
      spec: { ...given, serving, push: { artifact: 'Adapter', registry } },
      lacks: /^serving\.(engine|vllm)|^push\.s3/,
    },
    {
      spec: { ...given, serving: { ...serving, engine: 'VLLM', vllm }, push: { artifact: 'Adapter', s3 } },
      lacks: /^push\.registry/,
    },
  ] as { spec: Release['spec']; lacks: RegExp }[]
  const model = { path: 'm', digest: digestOf('m') }
  const adapter: Adapter = { name: 'a', digest: digestOf('a'), generation: 1, path: 'p', model }
  const effect = (spec: Release['spec']) => {
    const of = release(spec)
    const work = { adapter, attempt: 1, claim }
    return [
      servingObjects(of, { deployment: 'd', adapter, serviceTo: 'd', claim, settings }),
      pushChildren(of, spec.push!, work, settings, reclaimOf(of as Parameters<typeof reclaimOf>[0])),
      endpointOf(of),
    ]
  }
  // source, gates, review, rollback, strategy, dryRun and form are decided by: source.test.ts, gates.test.ts, review.test.ts,
  // going-back.test.ts, steps.test.ts, held.test.ts and merging.test.ts.
  const decided = /^(source|gates|review|rollback|strategy|dryRun|form)\b/
  for (const { spec, lacks } of samples) {
    const silent = idle('adapterrelease', [spec], effect).filter((path) => !decided.test(path) && !lacks.test(path))
    assert.deepEqual(silent, ['storage.claimName'])
  }
})
