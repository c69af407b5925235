/** What the chart renders to, by default and with each of its switches. */
import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { before, test } from 'node:test'
import { load } from 'js-yaml'
import { settingsFrom } from '../../operator/settings.ts'
import { chart, environment, helm, kinds, type Manifest, only, render } from './helm.ts'

let objects: Manifest[]
let deployment: Manifest
let pod: Manifest
let container: Manifest

before(async () => {
  objects = await render()
  deployment = only(objects, 'Deployment')
  pod = deployment.spec.template.spec
  container = pod.containers[0]
})

test('helm lint finds nothing', async () => {
  assert.match(await helm('lint', '--strict', chart), /0 chart\(s\) failed/)
})

test('the default is everything a cluster needs and nothing that needs more than Kubernetes', () => {
  assert.deepEqual(kinds(objects), [
    'ClusterRole',
    'ClusterRoleBinding',
    'CustomResourceDefinition',
    'Deployment',
    'NetworkPolicy',
    'Pod',
    'PodDisruptionBudget',
    'Role',
    'RoleBinding',
    'Secret',
    'Service',
    'ServiceAccount',
    'ValidatingAdmissionPolicy',
    'ValidatingAdmissionPolicyBinding',
  ])
})

test('every object says what it belongs to and is in the namespace of the release', () => {
  for (const { kind, metadata } of objects) {
    if (metadata.annotations?.['helm.sh/hook']) continue
    assert.equal(metadata.labels['app.kubernetes.io/name'], 'humanizer', kind)
    assert.equal(metadata.labels['app.kubernetes.io/instance'], 'humanizer', kind)
    if (!/^(ClusterRole|ClusterRoleBinding|CustomResourceDefinition|ValidatingAdmissionPolicy(Binding)?)$/.test(kind))
      assert.equal(metadata.namespace, 'system', kind)
  }
})

for (const [what, pick] of Object.entries({
  operator: (all: Manifest[]) => only(all, 'Deployment').spec.template.spec,
  'helm test': (all: Manifest[]) => only(all, 'Pod').spec,
}))
  test(`the pod of the ${what} is restricted by Pod Security Standards`, () => {
    const spec = pick(objects)
    assert.equal(spec.securityContext.runAsNonRoot, true)
    assert.equal(spec.securityContext.runAsUser, 65532)
    assert.deepEqual(spec.securityContext.seccompProfile, { type: 'RuntimeDefault' })
    assert.equal(spec.hostNetwork, undefined)
    for (const { securityContext } of spec.containers) {
      assert.equal(securityContext.allowPrivilegeEscalation, false)
      assert.equal(securityContext.readOnlyRootFilesystem, true)
      assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] })
    }
  })

test('the operator has probes, bounds, and never fewer replicas while it is replaced', () => {
  assert.equal(container.livenessProbe.httpGet.path, '/healthz')
  assert.equal(container.readinessProbe.httpGet.path, '/readyz')
  assert.equal(container.startupProbe.httpGet.path, '/healthz')
  assert.ok(container.resources.limits.memory)
  assert.ok(container.resources.requests.cpu)
  assert.equal(deployment.spec.strategy.rollingUpdate.maxUnavailable, 0)
  assert.equal(pod.topologySpreadConstraints[0].whenUnsatisfiable, 'ScheduleAnyway')
  assert.deepEqual(pod.topologySpreadConstraints[0].labelSelector, deployment.spec.selector)
})

test('the operator accepts the environment that it is given', () => {
  const env = environment(container)
  const key = Buffer.from(only(objects, 'Secret').data['ed25519.pem'], 'base64').toString()
  const settings = settingsFrom({ ...env, POD_NAME: 'operator-0', POD_NAMESPACE: 'system' }, (path) => {
    assert.equal(path, '/etc/humanizer-signing-key/ed25519.pem')
    return key
  })
  assert.equal(settings.trainerImage, 'localhost/humanizer/trainer:0.1.0')
  assert.equal(settings.storage.accessMode, 'ReadWriteMany')
  assert.deepEqual(settings.watchNamespaces, [])
  assert.equal(settings.healthPort, 8081)
  assert.equal(env.POD_NAMESPACE, 'metadata.namespace')
})

test('the signing key is an Ed25519 key whose public part can be derived', () => {
  const pem = Buffer.from(only(objects, 'Secret').data['ed25519.pem'], 'base64').toString()
  assert.equal(createPublicKey(pem).asymmetricKeyType, 'ed25519')
  assert.equal(pod.volumes[0].secret.secretName, only(objects, 'Secret').metadata.name)
  assert.equal(pod.volumes[0].secret.defaultMode, 0o440)
})

test('without the review policy nothing is made of it', async () => {
  const all = await render({ reviewPolicy: { enabled: false } })
  assert.equal(
    all.some(({ kind }) => kind.startsWith('ValidatingAdmissionPolicy')),
    false,
  )
})

test('a signing key of the user is used and none is made', async () => {
  const all = await render({ signingKey: { existingSecret: 'ours' } })
  assert.equal(kinds(all).includes('Secret'), false)
  assert.equal(only(all, 'Deployment').spec.template.spec.volumes[0].secret.secretName, 'ours')
})

test('the CRDs are those of crds/, kept at uninstall unless told otherwise', async () => {
  const folder = new URL('../../crds/', import.meta.url)
  const files = readdirSync(folder).filter((file) => file.endsWith('.yaml'))
  assert.equal(files.length, 3)
  for (const file of files) {
    const source = load(readFileSync(new URL(file, folder), 'utf8')) as Manifest
    const rendered = only(objects, 'CustomResourceDefinition', source.metadata.name)
    assert.deepEqual(rendered.spec, source.spec)
    assert.equal(rendered.metadata.annotations['helm.sh/resource-policy'], 'keep')
  }
  const unkept = await render({ crds: { keep: false } })
  assert.equal(unkept.filter(({ metadata }) => metadata.annotations?.['helm.sh/resource-policy']).length, 0)
  const without = await render({ crds: { enabled: false } })
  assert.equal(kinds(without).includes('CustomResourceDefinition'), false)
})

test('the Service leads to the operator and names the ports that are there', () => {
  const { spec } = only(objects, 'Service')
  assert.deepEqual(spec.selector, deployment.spec.selector.matchLabels)
  const named = container.ports.map(({ name }: Manifest) => name)
  for (const { targetPort } of spec.ports) assert.ok(named.includes(targetPort))
})

test('a ServiceMonitor is made on demand, with the labels that Prometheus selects', async () => {
  const all = await render({ metrics: { serviceMonitor: { enabled: true, labels: { release: 'prometheus' } } } })
  const monitor = only(all, 'ServiceMonitor')
  assert.equal(monitor.metadata.labels.release, 'prometheus')
  assert.deepEqual(monitor.spec.selector.matchLabels, only(all, 'Service').spec.selector)
})

test('a drain may always take one replica', () => {
  const { spec } = only(objects, 'PodDisruptionBudget')
  assert.equal(spec.maxUnavailable, 1)
  assert.equal(spec.minAvailable, undefined)
})

test('the operator lets in metrics readers and the test, and nobody else', async () => {
  const { spec } = only(objects, 'NetworkPolicy')
  assert.deepEqual(spec.podSelector, deployment.spec.selector)
  const [, health] = spec.ingress
  assert.deepEqual(health.from, [{ podSelector: { matchLabels: only(objects, 'Pod').metadata.labels } }])
  const narrow = only(await render({ networkPolicy: { metricsFrom: ['monitoring'] } }), 'NetworkPolicy')
  assert.deepEqual(narrow.spec.ingress[0].from[1], {
    namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'monitoring' } },
  })
  assert.equal(kinds(await render({ networkPolicy: { enabled: false } })).includes('NetworkPolicy'), false)
})

test('serving pods let in the label that the operator has', () => {
  assert.equal(deployment.spec.template.metadata.labels['app.kubernetes.io/name'], 'humanizer')
})

test('images are named by digest when there is one', async () => {
  const digest = `sha256:${'a'.repeat(64)}`
  const all = await render({
    operator: { image: { repository: 'registry.example/op', digest, tag: 'ignored' } },
    trainer: { image: { repository: 'registry.example/trainer', tag: '2' } },
  })
  const rendered = only(all, 'Deployment').spec.template.spec.containers[0]
  assert.equal(rendered.image, `registry.example/op@${digest}`)
  assert.equal(environment(rendered).TRAINER_IMAGE, 'registry.example/trainer:2')
  assert.equal(only(all, 'Pod').spec.containers[0].image, rendered.image)
})

test('helm test is a hook that cleans up after itself and holds no token', () => {
  const { metadata, spec } = only(objects, 'Pod')
  assert.equal(metadata.annotations['helm.sh/hook'], 'test')
  assert.match(metadata.annotations['helm.sh/hook-delete-policy'], /hook-succeeded/)
  assert.equal(spec.automountServiceAccountToken, false)
  assert.match(spec.containers[0].command.at(-1), /http:\/\/humanizer\.system\.svc.*:8081\/readyz/s)
})

test('two releases share no name and no Lease', async () => {
  const other = await render({ crds: { enabled: false } }, 'second')
  const { LEASE_NAME: lease } = environment(only(other, 'Deployment').spec.template.spec.containers[0])
  assert.notEqual(lease, environment(container).LEASE_NAME)
  assert.deepEqual(only(other, 'Role').rules[1].resourceNames, [lease])
  const names = new Set(objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`))
  for (const { kind, metadata } of other) assert.ok(!names.has(`${kind}/${metadata.name}`), `${kind}/${metadata.name}`)
})

test('the longest release name makes names that Kubernetes accepts', async () => {
  for (const { metadata } of await render({}, 'r'.repeat(53))) assert.ok(metadata.name.length <= 63, metadata.name)
})

test('settings of the operator reach it', async () => {
  const all = await render({
    operator: {
      replicas: 2,
      workers: 8,
      logLevel: 'debug',
      priorityClassName: 'high',
      nodeSelector: { disk: 'ssd' },
      tolerations: [{ operator: 'Exists' }],
      extraEnv: [{ name: 'RECONCILE_TIMEOUT_SECONDS', value: '60' }],
    },
    trainer: { hubEndpoint: 'https://mirror.example' },
    imagePullSecrets: [{ name: 'pull' }],
    storage: { className: 'nfs', size: '1Ti', accessMode: 'ReadWriteOnce' },
  })
  const { spec } = only(all, 'Deployment')
  const env = environment(spec.template.spec.containers[0])
  assert.equal(spec.replicas, 2)
  assert.equal(spec.template.spec.priorityClassName, 'high')
  assert.deepEqual(spec.template.spec.imagePullSecrets, [{ name: 'pull' }])
  assert.equal(env.WORKERS, '8')
  assert.equal(env.LOG_LEVEL, 'debug')
  assert.equal(env.RECONCILE_TIMEOUT_SECONDS, '60')
  assert.equal(env.HF_ENDPOINT, 'https://mirror.example')
  assert.equal(env.STORAGE_CLASS_NAME, 'nfs')
  assert.equal(env.STORAGE_ACCESS_MODE, 'ReadWriteOnce')
})

test('values.yaml stays short and says what every key is for', () => {
  const lines = readFileSync(`${chart}values.yaml`, 'utf8').trimEnd().split('\n')
  assert.ok(lines.length <= 120, `${lines.length} lines`)
  assert.ok(lines.filter((line) => line.includes('# --')).length >= 20)
})
