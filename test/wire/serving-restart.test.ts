import assert from 'node:assert/strict'
import { appendFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Checkpoint, Claim, desired, modelName, ServingPod } from './serving-pod.ts'

let claim: Claim
let first: Checkpoint
let second: Checkpoint
let pods: ServingPod[] = []

beforeEach(async () => {
  claim = await Claim.create()
  first = await claim.checkpoint('one', 1)
  second = await claim.checkpoint('two', 2)
})
afterEach(async () => {
  await Promise.all(pods.map((pod) => pod.stop('SIGKILL')))
  pods = []
  await claim.remove()
})

async function start(): Promise<ServingPod> {
  const pod = await ServingPod.start(claim)
  pods.push(pod)
  return pod
}
const ready = (pod: ServingPod) => pod.until('ready', (status) => status === 200)

test('a killed container comes back with the active digest, with the operator down, the run deleted and no ConfigMap', async () => {
  await claim.want(1, first)
  const pod = await start()
  await ready(pod)
  await pod.activate(desired(2, second))
  const said = await pod.say('The old house')
  await pod.stop('SIGKILL')
  await rm(join(claim.dataDir, 'runs'), { recursive: true })
  await rm(claim.desiredFile)
  const back = await start()
  const { digest, generation } = await ready(back)
  assert.deepEqual([digest, generation], [second.digest, 2])
  assert.deepEqual(await back.say('The old house'), said)
})

test('a restarted container never goes back to an older ConfigMap, and goes on to a newer one', async () => {
  await claim.want(5, first)
  const pod = await start()
  await ready(pod)
  await pod.activate(desired(6, second))
  await pod.stop('SIGKILL')
  assert.equal((await ready(await start())).generation, 6)
  await pods.at(-1)!.stop('SIGKILL')
  await claim.want(7, undefined)
  const { digest, generation } = await ready(await start())
  assert.deepEqual([digest, generation], ['', 7])
})

test('after a restart whose desired adapter is broken, what served before serves, and the failure is told', async () => {
  await claim.want(1, first)
  const pod = await start()
  await ready(pod)
  await appendFile(join(claim.dataDir, second.path, 'adapter_model.safetensors'), 'x')
  await assert.rejects(pod.activate(desired(2, second)))
  await pod.stop('SIGKILL')
  const state = await ready(await start())
  assert.deepEqual([state.digest, state.failedGeneration], [first.digest, 2])
})

test('a new pod whose adapter cannot be loaded is alive but never ready, until a newer generation can be', async () => {
  await claim.want(1, { digest: first.digest, path: 'runs/none' })
  const pod = await start()
  const { failure } = await pod.until('failed', (_, { failedGeneration }) => failedGeneration === 1)
  assert.match(failure, /runs\/none is not a sealed checkpoint/)
  assert.equal((await pod.readiness()).status, 503)
  assert.equal((await fetch(`${pod.url}/healthz`)).status, 200)
  const refusal = await pod.say('The')
  assert.deepEqual([refusal.status, JSON.parse(refusal.text).error.code], [503, 'not_ready'])
  await claim.want(2, first)
  assert.equal((await ready(pod)).digest, first.digest)
})

test('a pod waits for its ConfigMap and says so when it is no valid one', async () => {
  await writeFile(claim.desiredFile, '{"generation":')
  const pod = await start()
  await sleep(1500)
  assert.equal((await pod.readiness()).status, 503)
  await claim.want(1, first)
  await ready(pod)
})

test('two pods that promote the same adapter at once both serve it', async () => {
  await claim.want(1, undefined)
  const pod = await start()
  const other = await ServingPod.start(claim, {})
  pods.push(other)
  await Promise.all([ready(pod), ready(other)])
  const states = await Promise.all([pod.activate(desired(2, first)), other.activate(desired(2, first))])
  assert.deepEqual(
    states.map(({ digest }) => digest),
    [first.digest, first.digest],
  )
  assert.deepEqual(await pod.say('The'), await other.say('The'))
})

test('after SIGTERM running answers end, new ones are taken a moment longer, and the process leaves with 0', async () => {
  await claim.want(1, first)
  const pod = await start()
  await ready(pod)
  const body = JSON.stringify({ model: modelName, prompt: 'The', max_tokens: 800, temperature: 0, n: 4, stream: true })
  const answer = await fetch(`${pod.url}/v1/completions`, { method: 'POST', body })
  const running = answer.text()
  const began = performance.now()
  const leaving = pod.stop('SIGTERM')
  await sleep(200)
  assert.equal((await pod.readiness()).status, 503)
  assert.equal((await pod.say('The')).status, 200)
  const text = await running
  assert.ok(text.endsWith('data: [DONE]\n\n'))
  assert.equal(text.match(/"finish_reason":"(length|stop)"/g)?.length, 4)
  assert.equal(await leaving, 0)
  assert.ok(performance.now() - began < 25_000)
})
