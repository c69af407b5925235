import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { KubeObject } from '../kube/cluster.ts'
import { stillOurs } from './owned-fields.ts'

const applied: KubeObject = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'writer', namespace: 'team', labels: { 'humanizer.dev/release': 'writer' } },
  spec: {
    replicas: 1,
    strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    selector: { matchLabels: { a: 'b' } },
    template: {
      metadata: { annotations: {} },
      spec: {
        automountServiceAccountToken: false,
        containers: [
          {
            name: 'humanizer',
            command: ['node', 'main.ts'],
            resources: {},
            ports: [
              { name: 'http', containerPort: 8000 },
              { name: 'calls', containerPort: 9443, protocol: 'TCP' },
            ],
          },
        ],
        volumes: [{ name: 'tmp', emptyDir: {} }],
      },
    },
  },
}

/** As kube-apiserver 1.35 writes it. */
const container = {
  '.': {},
  'f:command': {},
  'f:name': {},
  'f:ports': {
    'k:{"containerPort":8000,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {}, 'f:name': {} },
    'k:{"containerPort":9443,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {}, 'f:name': {}, 'f:protocol': {} },
  },
  'f:resources': {},
}
const podSpec = {
  'f:automountServiceAccountToken': {},
  'f:containers': { 'k:{"name":"humanizer"}': container },
  'f:volumes': { 'k:{"name":"tmp"}': { '.': {}, 'f:emptyDir': {}, 'f:name': {} } },
}
const spec = {
  'f:replicas': {},
  'f:selector': {},
  'f:strategy': { 'f:rollingUpdate': { 'f:maxSurge': {}, 'f:maxUnavailable': {} } },
  'f:template': { 'f:spec': podSpec },
}
const metadata = { 'f:labels': { 'f:humanizer.dev/release': {} } }
const ours = { manager: 'humanizer', operation: 'Apply', fieldsV1: { 'f:metadata': metadata, 'f:spec': spec } }

// biome-ignore lint/suspicious/noExplicitAny: edited as somebody's kubectl would
const found = (managed: object[] | undefined, change: (fields: any) => void = () => undefined): KubeObject => {
  const managedFields = structuredClone(managed)
  change(
    (managedFields?.find((entry) => (entry as typeof ours).operation === 'Apply') as typeof ours)?.fieldsV1['f:spec'],
  )
  return { ...applied, metadata: { ...applied.metadata, ...(managedFields && { managedFields }) } }
}

test('what nobody touched is ours, whatever others own beside it', () => {
  const status = { manager: 'kube-controller-manager', operation: 'Update', subresource: 'status', fieldsV1: {} }
  assert.equal(stillOurs(applied, found([status, ours])), true)
  assert.equal(stillOurs(applied, found(undefined)), true)
})

// biome-ignore lint/suspicious/noExplicitAny: edited as somebody's kubectl would
const edits: Record<string, (fields: any) => void> = {
  'a number': (fields) => delete fields['f:replicas'],
  'a zero': (fields) => delete fields['f:strategy']['f:rollingUpdate']['f:maxUnavailable'],
  'a whole map': (fields) => delete fields['f:selector'],
  'a false deep inside': (fields) => delete fields['f:template']['f:spec']['f:automountServiceAccountToken'],
  'a container': (fields) => delete fields['f:template']['f:spec']['f:containers'],
  'one port': (fields) =>
    delete fields['f:template']['f:spec']['f:containers']['k:{"name":"humanizer"}']['f:ports'][
      'k:{"containerPort":8000,"protocol":"TCP"}'
    ],
  'a command': (fields) => delete fields['f:template']['f:spec']['f:containers']['k:{"name":"humanizer"}']['f:command'],
}
for (const [what, change] of Object.entries(edits))
  test(`somebody who changes ${what} takes it from us`, () => {
    assert.equal(stillOurs(applied, found([ours], change)), false)
  })

test('fields owned by another manager, or through another operation, are not ours', () => {
  assert.equal(stillOurs(applied, found([{ ...ours, manager: 'kubectl' }])), false)
  assert.equal(stillOurs(applied, found([{ ...ours, operation: 'Update' }])), false)
  assert.equal(stillOurs(applied, found([])), false)
})
