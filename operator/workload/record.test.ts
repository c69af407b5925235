import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { type Condition, setCondition } from '../kube/conditions.ts'
import { Invalid } from '../kube/errors.ts'
import { record } from './record.ts'

type Told = KubeObject & { status?: { conditions?: Condition[] } }

const now = new Date('2026-01-01T00:00:00Z')
const says = (conditions: Condition[], type: string, status: Condition['status'], reason: string): Condition[] =>
  setCondition(conditions, { type, status, reason, message: `${reason} in words`, observedGeneration: 1 }, now)
const objectWith = (conditions: Condition[]): Told => ({
  apiVersion: 'humanizer.dev/v1alpha1',
  kind: 'QLoRARun',
  metadata: { name: 'prose', namespace: 'team' },
  status: { conditions },
})

/** What is told of a change from one list of conditions to another. */
async function eventsOf(before: Condition[], after: Condition[]): Promise<string[]> {
  const events: string[] = []
  const cluster = {
    writeStatus: async (object: Told, status: Told['status']) => ({ ...object, status }),
    event: async (_: KubeObject, type: string, reason: string) => void events.push(`${type} ${reason}`),
  } as unknown as Cluster
  await record<Told>(cluster, objectWith(before), { conditions: after })
  return events
}

const training = says([], 'Ready', 'False', 'Training')

test('a new reason for Ready is told once, as a warning only when the object is stalled', async () => {
  assert.deepEqual(await eventsOf([], training), ['Normal Training'])
  assert.deepEqual(await eventsOf(training, training), [])
  const stalled = says(says(training, 'Ready', 'False', 'NonFinite'), 'Stalled', 'True', 'NonFinite')
  assert.deepEqual(await eventsOf(training, stalled), ['Warning NonFinite'])
})

test('a diagnosis is told beside it: a sick run as a warning, although it succeeded', async () => {
  const succeeded = says(training, 'Ready', 'True', 'Succeeded')
  const sick = says(succeeded, 'Healthy', 'False', 'Overfitting')
  assert.deepEqual(await eventsOf(training, sick), ['Normal Succeeded', 'Warning Overfitting'])
  assert.deepEqual(await eventsOf(sick, sick), [])
  const healthy = says(succeeded, 'Healthy', 'True', 'Healthy')
  assert.deepEqual(await eventsOf(succeeded, healthy), ['Normal Healthy'])
})

test('a tracking server that fails is told as a warning, and that it is well again, too', async () => {
  const well = says(training, 'Tracked', 'True', 'Tracked')
  const ill = says(training, 'Tracked', 'False', 'TrackingFailed')
  assert.deepEqual(await eventsOf(training, ill), ['Warning TrackingFailed'])
  assert.deepEqual(await eventsOf(ill, well), ['Normal Tracked'])
})

test('a status that breaks the schema is said in its place, once, and thrown', async () => {
  const written: Told['status'][] = []
  const events: string[] = []
  const cluster = {
    writeStatus: async (object: Told, status: Told['status'] & { digest?: string }) => {
      if (status?.digest) throw new Invalid(422, 'PUT …: status.digest: Too long: may not be more than 71 bytes')
      written.push(status)
      return { ...object, status }
    },
    event: async (_: KubeObject, type: string, reason: string) => void events.push(`${type} ${reason}`),
  } as unknown as Cluster
  const told = { conditions: says(training, 'Ready', 'True', 'Succeeded'), digest: 'x'.repeat(72) }
  await assert.rejects(record<Told>(cluster, objectWith(training), told), Invalid)
  const [ready, reconciling] = written[0]?.conditions ?? []
  assert.deepEqual([ready?.status, ready?.reason, reconciling?.type], ['False', 'StatusInvalid', 'Reconciling'])
  assert.match(ready?.message ?? '', /status\.digest: Too long/)
  await assert.rejects(record<Told>(cluster, objectWith(written[0]?.conditions ?? []), told), Invalid)
  assert.deepEqual(events, ['Normal StatusInvalid'])
})
