import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DesiredAdapter, ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import type { Adapter, Release } from './adapter.ts'
import { parseState } from './heard.ts'
import { release, run } from './objects.ts'
import { deploymentName, servingObjects, upToDate, type Wanted } from './serving.ts'
import { resolveSource } from './source.ts'
import { World } from './world.ts'

// biome-ignore lint/suspicious/noExplicitAny: a manifest is read here as a reader of YAML would
type Manifest = any

const { settings } = new World()
const resolution = resolveSource(release(), { runs: [run()], releases: [] })
const adapter: Adapter = { ...(resolution as { adapter: Adapter }).adapter, generation: 7 }

function objects(object: Release = release(), changes: Partial<Wanted> = {}) {
  const deployment = deploymentName(object, adapter, settings.trainerImage)
  const claim = { name: 'humanizer', singleNode: false }
  const all = servingObjects(object, { deployment, adapter, serviceTo: deployment, claim, settings, ...changes })
  return { all, deployment, of: (kind: string) => all.filter((each) => each.kind === kind) as Manifest[] }
}

test('a release computes in the type that its run asked for', () => {
  const quantization = { ...adapter.quantization!, computeDType: 'Float32' }
  const config = objects(release(), { adapter: { ...adapter, quantization } }).of('ConfigMap')[0]
  assert.equal(ServeConfig.fromJSON(JSON.parse(config.data['config.json'])).quantization?.computeDtype, 'Float32')
})

test('a release that asked for a GPU serves on it or not at all', () => {
  const told = (limits: Record<string, number>) => {
    const [config] = objects(release({ pod: { resources: { limits } } })).of('ConfigMap')
    return ServeConfig.fromJSON(JSON.parse(config.data['config.json'])).backend
  }
  assert.equal(told({ cpu: 2 }), 'Auto')
  assert.equal(told({ 'nvidia.com/gpu': 1 }), 'CUDA')
})

test('the name of the Deployment changes with base model, quantisation and image, and with nothing else', () => {
  const name = (changes: Partial<Adapter>, image = 'trainer:1') =>
    deploymentName(release(), { ...adapter, ...changes }, image)
  assert.match(name({}), /^writer-serve-[0-9a-f]{8}$/)
  assert.equal(name({ digest: 'other', generation: 9, path: 'elsewhere' }), name({}))
  assert.notEqual(name({}, 'trainer:2'), name({}))
  assert.notEqual(name({ model: { path: 'models/m', digest: 'x', name: 'm' } }), name({}))
  assert.notEqual(name({ quantization: { ...adapter.quantization!, type: 'None' } }), name({}))
  assert.ok(deploymentName({ ...release(), metadata: { name: 'x'.repeat(40) } }, adapter, '').length <= 63)
})

const mountsOf = (deployment: Manifest) => {
  const { containers, volumes } = deployment.spec.template.spec
  return containers[0].volumeMounts.map(({ name, mountPath, readOnly }: Manifest) => {
    const claim = volumes.find((volume: Manifest) => volume.name === name).persistentVolumeClaim?.claimName
    return claim && `${claim} ${mountPath}${readOnly ? ' read-only' : ''}`
  })
}

test('a base on a claim of its own is mounted read-only, and is another Deployment than the same base elsewhere', () => {
  const { adapter: elsewhere } = resolveSource(release(), { runs: [run({ modelClaim: 'bases' })], releases: [] }) as {
    adapter: Adapter
  }
  assert.equal(elsewhere.model?.claimName, 'bases')
  const [found] = objects(release(), { adapter: elsewhere }).of('Deployment')
  const claims = mountsOf(found).filter((mount: unknown) => mount)
  assert.deepEqual(claims, ['humanizer /data', 'bases /models-source read-only'])
  assert.deepEqual(
    mountsOf(objects().of('Deployment')[0]).filter((mount: unknown) => mount),
    ['humanizer /data'],
  )
  assert.notEqual(deploymentName(release(), elsewhere, 'i'), deploymentName(release(), adapter, 'i'))
})

test('a base on the claim that the release itself uses is one volume, mounted twice', () => {
  const model = { ...adapter.model!, path: '/models-source/m', claimName: 'humanizer' }
  const [found] = objects(release(), { adapter: { ...adapter, model } }).of('Deployment')
  const claims = mountsOf(found).filter((mount: unknown) => mount)
  assert.deepEqual(claims, ['humanizer /data', 'humanizer /models-source read-only'])
  const { volumes } = found.spec.template.spec
  assert.equal(volumes.filter((volume: Manifest) => volume.persistentVolumeClaim).length, 1)
})

test('the pods are told their configuration and what to load as the protocol has it', () => {
  const [config, desired] = objects().of('ConfigMap')
  const values = ServeConfig.fromJSON(JSON.parse(config.data['config.json']))
  assert.equal(values.modelName, 'writer')
  assert.equal(values.model?.path, 'models/m')
  assert.equal(values.trust?.port, 9443)
  assert.equal(values.owner?.uid, 'release-uid')
  const told = DesiredAdapter.fromJSON(JSON.parse(desired.data['desired.json']))
  assert.deepEqual([told.generation, told.digest, told.sourcePath], [7, adapter.digest, adapter.path])
  assert.equal(told.format?.userTemplate, '{text}')
  assert.equal(told.warmSeconds, 1800, 'what served before stays in memory for spec.rollback.windowSeconds')
})

test('the Deployment never takes a serving pod away before the next is ready, and drains', () => {
  const [{ spec }] = objects(release({ serving: { port: 8000, replicas: 3 } })).of('Deployment')
  assert.equal(spec.replicas, 3)
  assert.equal(spec.strategy.rollingUpdate.maxUnavailable, 0)
  const pod = spec.template.spec
  const [container] = pod.containers
  assert.equal(pod.terminationGracePeriodSeconds, 30)
  assert.equal(pod.automountServiceAccountToken, false)
  assert.equal(container.readinessProbe.httpGet.path, '/readyz')
  assert.equal(container.livenessProbe.httpGet.path, '/healthz')
  assert.ok(container.lifecycle.preStop)
  assert.ok(container.volumeMounts.some((mount: Manifest) => mount.mountPath === '/state' && !mount.readOnly))
  assert.ok(
    container.volumeMounts.some((mount: Manifest) => mount.mountPath === '/etc/humanizer-desired' && mount.readOnly),
  )
})

test('replicas are left to an autoscaler when the spec has none', () => {
  assert.equal('replicas' in objects().of('Deployment')[0].spec, false)
})

test('only the operator may make signed calls, and only named clients may ask', () => {
  const clients = [{ namespace: 'web', podLabels: { app: 'editor' } }]
  const [{ spec }] = objects(release({ serving: { port: 8000, clients } })).of('NetworkPolicy')
  const [calls, http] = spec.ingress
  assert.equal(calls.from.length, 1)
  assert.equal(calls.ports[0].port, 9443)
  assert.equal(calls.from[0].namespaceSelector.matchLabels['kubernetes.io/metadata.name'], 'humanizer-system')
  assert.deepEqual(http.from.at(-1).podSelector.matchLabels, { app: 'editor' })
  assert.equal(http.ports[0].port, 8000)
})

test('a switch changes desired.json and nothing else', () => {
  const before = objects().all
  const after = objects(release(), { adapter: { ...adapter, digest: 'sha256:x', generation: 8 } }).all
  const changed = after.filter((object, index) => !upToDate(object, before[index]))
  assert.deepEqual(
    changed.map(({ metadata }) => metadata.name),
    [`writer-desired-${objects().deployment.slice(-8)}`],
  )
})

test('a Service or ConfigMap changed by hand is applied again', () => {
  const { all } = objects()
  for (const object of all.filter(({ kind }) => kind === 'Service' || kind === 'ConfigMap')) {
    const changed: Manifest = structuredClone(object)
    if (object.kind === 'Service') changed.spec.selector = {}
    else changed.data = {}
    assert.equal(upToDate(object, object), true)
    assert.equal(upToDate(object, changed), false)
  }
})

test('an object of which somebody else has taken a field is applied again', () => {
  for (const object of objects().all) {
    const taken = { ...object, metadata: { ...object.metadata, managedFields: [{ manager: 'kubectl' }] } }
    assert.equal(upToDate(object, taken), false)
  }
})

const notStates = [
  '',
  'ok',
  'null',
  '[]',
  '{"generation":-1}',
  '{"generation":1.5}',
  '{"digest":"latest"}',
  '{"loadedTime":"soon"}',
  'x'.repeat(20_000),
]
for (const text of notStates)
  test(`a readiness page of ${JSON.stringify(text.slice(0, 24))} says nothing that could be believed`, () => {
    const { state, doubt } = parseState(text)
    assert.ok(doubt !== undefined || (state?.generation === 0 && state.loadedTime === ''))
  })
