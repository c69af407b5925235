/** Review as the API server and the chart's admission policy hold it: digests, and who says that they approved. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { render } from '../chart/helm.ts'
import { type ApiServer, startApiServer, until } from './api-server.ts'

let server: ApiServer
let path: string
const digest = (letter: string): string => `sha256:${letter.repeat(64)}`
const policies = '/apis/admissionregistration.k8s.io/v1'

before(async () => {
  server = await startApiServer()
  const namespace = await server.namespace()
  path = `/apis/humanizer.dev/v1alpha1/namespaces/${namespace}/adapterreleases`
  const client = server.client()
  const rbac = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}`
  const metadata = { name: 'releases' }
  await client.request('POST', `${rbac}/roles`, {
    body: { metadata, rules: [{ apiGroups: ['humanizer.dev'], resources: ['adapterreleases'], verbs: ['*'] }] },
  })
  await client.request('POST', `${rbac}/rolebindings`, {
    body: {
      metadata,
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: 'releases' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'nobody' }],
    },
  })
  for (const object of await render()) {
    if (object.kind === 'ValidatingAdmissionPolicy')
      await client.request('POST', `${policies}/validatingadmissionpolicies`, { body: object })
    if (object.kind === 'ValidatingAdmissionPolicyBinding')
      await client.request('POST', `${policies}/validatingadmissionpolicybindings`, { body: object })
  }
  // The API server takes a policy up a moment after it is made.
  await until('the policy is in force', () =>
    create('probe', { approvedDigest: digest('a'), approvedBy: 'somebody' }, { dryRun: 'All' }).then(
      () => false,
      () => true,
    ),
  )
})
after(() => server.stop())

const body = (name: string, review: object, more: object = {}) => ({
  apiVersion: 'humanizer.dev/v1alpha1',
  kind: 'AdapterRelease',
  metadata: { name },
  spec: { source: { run: { name: 'prose' } }, review, ...more },
})

function create(
  name: string,
  review: object,
  query: Record<string, string> = {},
  token = 'test-admin',
): Promise<AdapterRelease> {
  return server.client({ token }).request('POST', path, { query, body: body(name, review) })
}

function change(name: string, review: object | null, token: string, more: object = {}): Promise<AdapterRelease> {
  return server.client({ token }).request('PATCH', `${path}/${name}`, {
    contentType: 'application/merge-patch+json',
    body: { spec: { review, ...more } },
  })
}

const approval = (letter: string, approvedBy: string | null) => ({ approvedDigest: digest(letter), approvedBy })

test('an approval is made in the own name only', async () => {
  await create('writer', { required: true })
  await assert.rejects(change('writer', approval('a', 'admin'), 'nobody'), /approvedBy is "admin", expected "nobody"/)
  await assert.rejects(change('writer', approval('a', null), 'nobody'), /approvedBy is "", expected "nobody"/)
  const { spec } = await change('writer', approval('a', 'nobody'), 'nobody')
  assert.deepEqual(spec.review, { required: true, approvedDigest: digest('a'), approvedBy: 'nobody' })
})

test('a standing approval stays while others edit, and moves to no other digest or name', async () => {
  await create('reader', { required: true, ...approval('a', 'nobody') }, {}, 'nobody')
  await change('reader', {}, 'test-admin', { serving: { replicas: 2 } })
  await assert.rejects(change('reader', { approvedDigest: digest('b') }, 'test-admin'), /expected "admin"/)
  await assert.rejects(change('reader', { approvedBy: 'bob' }, 'nobody'), /approvedBy is "bob", expected "nobody"/)
  await assert.rejects(change('reader', { approvedBy: 'bob' }, 'test-admin'), /expected "admin"/)
  await change('reader', approval('b', 'admin'), 'test-admin')
  await change('reader', null, 'nobody')
})

test('an approval at creation is held to the user too', async () => {
  await assert.rejects(create('late', approval('a', 'admin'), {}, 'nobody'), /expected "nobody"/)
})

test('what contradicts itself is refused by the schema', async () => {
  await assert.rejects(
    create('odd', { ...approval('a', 'admin'), rejectedDigest: digest('a') }),
    /approvedDigest and rejectedDigest are the same/,
  )
  await assert.rejects(create('odd', { approvedBy: 'admin' }), /approvedBy goes with approvedDigest/)
  await assert.rejects(create('odd', { approvedDigest: 'sha256:short', approvedBy: 'admin' }), /approvedDigest/)
  await assert.rejects(create('odd', { deadlineSeconds: 0 }), /deadlineSeconds/)
})

test('status is written without the policy in the way', async () => {
  const created = await create('scribe', { required: true, ...approval('a', 'nobody') }, {}, 'nobody')
  const status = { observedGeneration: 1 }
  await server.client().request('PUT', `${path}/scribe/status`, { body: { ...created, status } })
})
