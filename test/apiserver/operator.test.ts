import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { FAULT_EXIT_CODE } from '../../operator/kube/fault.ts'
import { type ApiServer, type AuditedRequest, startApiServer, until } from './api-server.ts'
import { OperatorProcess } from './operator-process.ts'
import { type Widget, widget, widgetCrd, widgetsPath } from './widget.ts'

let server: ApiServer

before(async () => {
  server = await startApiServer()
  await server.installCrds([widgetCrd])
})
after(() => server.stop())

const operatorIn = (
  namespace: string,
  podName = 'operator-0',
  env: Record<string, string> = {},
  program = 'build/widget-operator.mjs',
): OperatorProcess =>
  new OperatorProcess({
    program,
    kubeConfigFile: server.kubeConfigFile(),
    namespace,
    podName,
    env,
  })

const create = (namespace: string, name: string, value: string): Promise<Widget> =>
  server.client().request('POST', widgetsPath(namespace), { body: widget(namespace, name, value) })

const change = (namespace: string, name: string, value: string): Promise<Widget> =>
  server.client().request('PATCH', `${widgetsPath(namespace)}/${name}`, {
    contentType: 'application/merge-patch+json',
    body: { spec: { value } },
  })

async function copied(namespace: string, name: string, value: string, limitSeconds?: number): Promise<number> {
  return until(
    `${name} is copied`,
    async () => {
      const client = server.client()
      const [{ status }, child] = await Promise.all([
        client.request<Widget>('GET', `${widgetsPath(namespace)}/${name}`),
        client
          .request<{ data: { value: string } }>('GET', `/api/v1/namespaces/${namespace}/configmaps/${name}`)
          .catch(() => undefined),
      ])
      return status?.copied === value && child?.data.value === value
    },
    limitSeconds,
  )
}

const isWrite = ({ verb }: AuditedRequest): boolean => ['create', 'update', 'patch', 'delete'].includes(verb)
const ofOperator = (namespace: string) => (request: AuditedRequest) =>
  request.objectRef?.namespace === namespace && request.objectRef.resource !== 'leases'

test('objects are reconciled when they come and change, and when a child is changed or deleted', async () => {
  const namespace = await server.namespace()
  await using operator = operatorIn(namespace)
  await create(namespace, 'before', '1')
  await operator.ready()
  await copied(namespace, 'before', '1')
  await create(namespace, 'after', '1')
  await copied(namespace, 'after', '1')
  await change(namespace, 'after', '2')
  await copied(namespace, 'after', '2')
  await server.client().request('DELETE', `/api/v1/namespaces/${namespace}/configmaps/after`)
  await copied(namespace, 'after', '2')
  assert.equal(await operator.metric('humanizer_objects{kind="Widget",state="ready"}'), 2)
  assert.equal(await operator.metric('humanizer_leader'), 1)
  assert.equal(await operator.metric('humanizer_watch_relists_total{kind="Widget"}'), 1)
})

test('the steady state is silent: no write and no list in twenty seconds with fifty objects', async () => {
  const namespace = await server.namespace()
  await using operator = operatorIn(namespace)
  const names = Array.from({ length: 50 }, (_, i) => `idle-${i}`)
  await Promise.all(names.map((name) => create(namespace, name, '1')))
  await operator.ready()
  for (const name of names) await copied(namespace, name, '1')
  await new Promise((resolve) => setTimeout(resolve, 2000))
  const before = server.audited().length
  await new Promise((resolve) => setTimeout(resolve, 20_000))
  const asked = server.audited().slice(before).filter(ofOperator(namespace))
  assert.deepEqual(
    asked.filter((request) => request.verb !== 'watch'),
    [],
  )
})

test('of two replicas one acts; killed, the other acts within twenty seconds', async () => {
  const namespace = await server.namespace()
  await using a = operatorIn(namespace, 'a')
  await a.leads()
  await using b = operatorIn(namespace, 'b')
  await b.ready()
  await create(namespace, 'first', '1')
  await copied(namespace, 'first', '1')
  assert.equal(b.said('leading'), undefined)
  a.signal('SIGKILL')
  await create(namespace, 'second', '1')
  const milliseconds = await copied(namespace, 'second', '1', 25)
  assert.ok(milliseconds <= 20_000, `acted after ${milliseconds} ms`)
})

test('a stopped leader ends within three seconds and hands over at once', async () => {
  const namespace = await server.namespace()
  await using a = operatorIn(namespace, 'a')
  await a.leads()
  await using b = operatorIn(namespace, 'b')
  await b.ready()
  const started = performance.now()
  a.signal('SIGTERM')
  assert.equal(await a.exited, 0)
  const stopped = performance.now() - started
  assert.ok(stopped <= 3000, `ended after ${stopped} ms`)
  assert.ok((await b.leads(5)) < 3500)
})

test('a leader that was stopped in its sleep writes nothing when it wakes after its lease', async () => {
  const namespace = await server.namespace()
  await using a = operatorIn(namespace, 'a')
  await a.leads()
  await using b = operatorIn(namespace, 'b')
  await b.ready()
  a.signal('SIGSTOP')
  await b.leads(25)
  await create(namespace, 'other', '1')
  await copied(namespace, 'other', '1')
  const { metadata } = await server.client().request<Widget>('GET', `${widgetsPath(namespace)}/other`)
  a.signal('SIGCONT')
  await until('it follows', () => a.said('following') !== undefined)
  await new Promise((resolve) => setTimeout(resolve, 1000))
  const later = await server.client().request<Widget>('GET', `${widgetsPath(namespace)}/other`)
  assert.equal(later.metadata.resourceVersion, metadata.resourceVersion)
})

test('the operator outlives its API server and goes on by itself', async () => {
  const namespace = await server.namespace()
  await using operator = operatorIn(namespace)
  await operator.ready()
  await create(namespace, 'a', '1')
  await copied(namespace, 'a', '1')
  await server.kill()
  await new Promise((resolve) => setTimeout(resolve, 15_000)) // longer than its renew deadline
  await server.startApi()
  await change(namespace, 'a', '2')
  await copied(namespace, 'a', '2', 35)
})

test('killed after every one of its writes, the operator comes to the same end', async () => {
  const whole = await server.namespace()
  await create(whole, 'swept', '1')
  const writesSoFar = () => server.audited().filter(isWrite).filter(ofOperator(whole))
  {
    await using operator = operatorIn(whole)
    await operator.ready()
    await until('its Event is there', () => writesSoFar().some(({ objectRef }) => objectRef?.resource === 'events'))
  }
  const writes = writesSoFar().length - 1 // the widget itself is ours
  assert.equal(writes, 3)
  for (let n = 1; n <= writes; n++) {
    const namespace = await server.namespace()
    await create(namespace, 'swept', '1')
    await using faulty = operatorIn(namespace, 'operator-0', { FAULT_AFTER_MUTATION: String(n) })
    assert.equal(await faulty.exited, FAULT_EXIT_CODE)
    await using healthy = operatorIn(namespace)
    await copied(namespace, 'swept', '1')
    await healthy.ready()
  }
})

test('the three controllers start together and are ready on an empty cluster', async () => {
  const namespace = await server.namespace()
  await using operator = operatorIn(namespace, 'operator-0', {}, 'build/operator.mjs')
  await operator.ready()
  await operator.leads()
  for (const kind of ['HumanizerDataset', 'QLoRARun', 'AdapterRelease'])
    assert.equal(await operator.metric(`humanizer_objects{kind="${kind}",state="unknown"}`), 0)
})
