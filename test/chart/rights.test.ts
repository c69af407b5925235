/** What the chart lets the operator and the users do. */
import assert from 'node:assert/strict'
import { before, test } from 'node:test'
import type { Kind } from '../../operator/controller/controller.ts'
import { datasetController } from '../../operator/dataset/controller.ts'
import type { Cluster } from '../../operator/kube/cluster.ts'
import { releaseController } from '../../operator/release/controller.ts'
import { runController } from '../../operator/run/controller.ts'
import { settingsFrom } from '../../operator/settings.ts'
import { createTrust } from '../../operator/trust/trust.ts'
import { environment, kinds, type Manifest, only, render, rulesOf } from './helm.ts'

let objects: Manifest[]
let container: Manifest

before(async () => {
  objects = await render()
  container = only(objects, 'Deployment').spec.template.spec.containers[0]
})

test('no role has a wildcard, a Secret, an exec, an impersonation or a spec of ours', () => {
  const own = ['humanizerdatasets', 'qloraruns', 'adapterreleases']
  const operators = objects.filter(({ metadata }) => /-(operator|leader)$/.test(metadata.name))
  assert.ok(rulesOf(operators).length > 10)
  for (const { apiGroups, resources, verbs } of rulesOf(operators)) {
    for (const each of [...apiGroups, ...resources, ...verbs]) assert.ok(!each.includes('*'), `${resources}: ${verbs}`)
    for (const resource of resources) {
      assert.ok(!/^(secrets|pods\/exec|serviceaccounts|roles|clusterroles|nodes)$/.test(resource), resource)
      if (own.includes(resource)) assert.deepEqual(verbs, ['get', 'list', 'watch'])
    }
    assert.ok(!verbs.some((verb: string) => /^(impersonate|escalate|bind|deletecollection)$/.test(verb)))
  }
})

test('status is all that the operator may write of our kinds', () => {
  const rules = rulesOf(objects.filter(({ metadata }) => metadata.name === 'humanizer-operator'))
  const writes = rules.filter(
    ({ apiGroups, verbs }) =>
      apiGroups[0] === 'humanizer.dev' && verbs.some((verb: string) => !/get|list|watch/.test(verb)),
  )
  assert.deepEqual(
    writes.flatMap(({ resources }) => resources),
    ['humanizerdatasets/status', 'qloraruns/status', 'adapterreleases/status'],
  )
})

test('leader election is a right in the own namespace, on one Lease', () => {
  const role = only(objects, 'Role')
  assert.equal(role.metadata.namespace, 'system')
  const [create, rest] = role.rules
  assert.deepEqual(create.verbs, ['create'])
  assert.deepEqual(rest.resourceNames, ['humanizer-operator'])
  assert.equal(environment(container).LEASE_NAME, 'humanizer-operator')
})

test('with a list of namespaces there is no right anywhere else', async () => {
  const all = await render({ watchNamespaces: ['a', 'b'], rbac: { aggregate: false } })
  assert.equal(kinds(all).includes('ClusterRole'), false)
  assert.equal(kinds(all).includes('ClusterRoleBinding'), false)
  const roles = all.filter(({ kind }) => kind === 'Role').map(({ metadata }) => metadata.namespace)
  assert.deepEqual(roles.sort(), ['a', 'b', 'system'])
  const bindings = all.filter(({ kind }) => kind === 'RoleBinding')
  for (const { subjects } of bindings) assert.equal(subjects[0].namespace, 'system')
  assert.equal(environment(only(all, 'Deployment').spec.template.spec.containers[0]).WATCH_NAMESPACES, 'a,b')
})

test('roles can be left to somebody else', async () => {
  const all = await render({
    rbac: { create: false, aggregate: false },
    serviceAccount: { create: false, name: 'given' },
  })
  assert.equal(rulesOf(all).length, 0)
  assert.equal(kinds(all).includes('ServiceAccount'), false)
  assert.equal(only(all, 'Deployment').spec.template.spec.serviceAccountName, 'given')
})

test('view, edit and admin of the cluster include the three kinds; only edit may change them', () => {
  const view = only(objects, 'ClusterRole', 'humanizer-view')
  const edit = only(objects, 'ClusterRole', 'humanizer-edit')
  assert.equal(view.metadata.labels['rbac.authorization.k8s.io/aggregate-to-view'], 'true')
  assert.equal(edit.metadata.labels['rbac.authorization.k8s.io/aggregate-to-view'], undefined)
  assert.equal(edit.metadata.labels['rbac.authorization.k8s.io/aggregate-to-edit'], 'true')
  assert.deepEqual(view.rules[0].verbs, ['get', 'list', 'watch'])
  for (const { resources } of edit.rules) assert.ok(!resources.some((each: string) => each.endsWith('/status')))
})

test('the operator may watch what its controllers watch, and no other kind', () => {
  const env = { ...environment(container), POD_NAME: 'operator-0', POD_NAMESPACE: 'system' }
  const key = Buffer.from(only(objects, 'Secret').data['ed25519.pem'], 'base64').toString()
  const settings = settingsFrom(env, () => key)
  const trust = createTrust(settings)
  const unused = {} as Cluster
  const watched = [datasetController, runController, releaseController].flatMap((controllerOf) => {
    const { kind, children, related = [] } = controllerOf(unused, settings, trust)
    return [kind, ...children, ...related].map(({ apiVersion, plural }: Kind) => `${apiVersion}/${plural}`)
  })
  trust.close()
  const version = { 'humanizer.dev': 'v1alpha1' } as Readonly<Record<string, string>>
  const mayWatch = rulesOf([only(objects, 'ClusterRole', 'humanizer-operator')])
    .filter(({ verbs }) => verbs.includes('watch'))
    .flatMap(({ apiGroups: [group], resources, verbs }) => {
      assert.ok(verbs.includes('list'), `${resources}: ${verbs}`)
      return resources.map((plural: string) => `${group && `${group}/`}${version[group] ?? 'v1'}/${plural}`)
    })
  assert.deepEqual(mayWatch.sort(), [...new Set(watched)].sort())
})
