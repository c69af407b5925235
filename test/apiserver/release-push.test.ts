/** spec.push on a real API server: real Jobs and Secrets, their pods played. */
import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { type ApiServer, until } from './api-server.ts'
import { conditionOf, digestOf, ReleaseScene, readyOf } from './release-scene.ts'
import { completes, fails, Kubelet, type PodScript } from './run-kubelet.ts'
import { sharedApiServer } from './shared-api-server.ts'
import { linesOf, type } from './typing.ts'

const b = digestOf('b')
const source = { run: { name: 'prose', checkpoint: 'Best' } }
const registry = { repository: 'ghcr.io/team/writer', secretRef: { name: 'ghcr' } }
// As a user writes it: the API server fills in the rest.
const push = { registry } as unknown as NonNullable<AdapterRelease['spec']['push']>

let server: ApiServer
let scene: ReleaseScene
let kubelet: Kubelet | undefined
let ends: () => PodScript | undefined

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())
beforeEach(async () => {
  scene = await ReleaseScene.begin(server)
  ends = () => undefined
  kubelet = new Kubelet(scene.client, scene.namespace, (pod) => ends() ?? completes(pod))
  await scene.finishedRun()
})
afterEach(async () => {
  await kubelet?.[Symbol.asyncDispose]()
  await scene.end()
})

const jobs = async (): Promise<string[]> =>
  (await scene.list('/apis/batch/v1', 'jobs')).map(({ metadata }) => metadata.name).sort()
/** As docs/push.md says. */
const typed = async (begins: string, env: Record<string, string> = {}): Promise<string> => {
  const [line = ''] = linesOf('push.md', begins)
  return type(server, line, { namespace: scene.namespace, env })
}
const makeSecret = (): Promise<string> => typed('kubectl create secret', { TOKEN: 'a-token' })
const pushedOf = (release: AdapterRelease): string => {
  const pushed = conditionOf(release, 'Pushed')
  return `${pushed?.status}/${pushed?.reason}`
}
async function untilPushed(want: string, limitSeconds = 40): Promise<AdapterRelease> {
  let seen = await scene.get()
  await until(
    `Pushed ${want}`,
    async () => {
      seen = await scene.get()
      return pushedOf(seen) === want
    },
    limitSeconds,
  ).catch((error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(seen.status?.conditions)}`)
  })
  return seen
}

test('what serves is pushed once its Secret is there, by one Job, and what happens is told', async () => {
  await scene.apply({ source, push })
  const waiting = await untilPushed('False/SecretMissing')
  assert.match(conditionOf(waiting, 'Pushed')?.message ?? '', /needs Secret ghcr \(key \.dockerconfigjson\)/)
  assert.equal(readyOf(await scene.untilReady('True/Serving')), 'True/Serving')
  await makeSecret()
  assert.match(await typed('kubectl wait'), /writer condition met/)
  assert.equal(await typed('kubectl get'), `ghcr.io/team/writer@${digestOf('8')}`)
  const { status } = await untilPushed('True/Pushed')
  assert.deepEqual(await jobs(), ['writer-push-bbbbbbbb-1'])
  const [entry, ...others] = status?.pushed ?? []
  assert.deepEqual(
    [entry?.digest, entry?.artifact, entry?.destination, entry?.reference, others.length],
    [b, 'Adapter', 'ghcr.io/team/writer', `ghcr.io/team/writer@${digestOf('8')}`, 0],
  )
  await until('the Events are told', async () => {
    const events = await scene.list<
      { reason: string; type: string } & Awaited<ReturnType<typeof scene.deployments>>[0]
    >('/api/v1', 'events')
    const told = events.map(({ type, reason }) => `${type} ${reason}`)
    return told.includes('Warning SecretMissing') && told.includes('Normal Pushed')
  })

  // Another operator finds nothing to do.
  await scene.stopOperator()
  await scene.startOperator()
  await scene.apply({ source: { run: { name: 'prose', checkpoint: 'checkpoint-12' } } })
  await scene.untilReady('True/Serving')
  assert.equal(conditionOf(await scene.get(), 'Pushed'), undefined, 'without spec.push it stands no more')
  assert.deepEqual(await jobs(), ['writer-push-bbbbbbbb-1'])
})

test('a Job that fails is told while the release serves on, and another goes on', async () => {
  await makeSecret()
  ends = () => fails(kubelet!.seen.at(-1)!, 77, 'AccessDenied', 'the registry answered 401')
  await scene.apply({ source, push })
  const failed = await untilPushed('False/PushFailed')
  assert.match(conditionOf(failed, 'Pushed')?.message ?? '', /AccessDenied: the registry answered 401/)
  assert.equal(readyOf(failed), 'True/Serving')
  ends = () => undefined
  const { status } = await untilPushed('True/Pushed', 60)
  assert.deepEqual([status?.push?.number, status?.push?.failures], [2, 0])
  assert.deepEqual(await jobs(), ['writer-push-bbbbbbbb-2'])
})
