/** A candidate answers a share of the requests beside what serves, in one pod. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { after, before, test } from 'node:test'
import { status as grpc, type ServiceError } from '@grpc/grpc-js'
import type { DesiredAdapter } from '#proto/humanizer/trainer/v1/serving.ts'
import { type Checkpoint, Claim, desired, modelName, ServingPod } from './serving-pod.ts'

let claim: Claim
let pod: ServingPod
let active: Checkpoint
let candidate: Checkpoint
let generation = 1

before(async () => {
  claim = await Claim.create()
  active = await claim.checkpoint('active', 1)
  candidate = await claim.checkpoint('candidate', 2)
  await claim.want(generation, active)
  pod = await ServingPod.start(claim)
  await pod.until('ready', (status) => status === 200)
})
after(async () => {
  await pod?.stop('SIGKILL')
  await claim?.remove()
})

/** `serves`, and beside it `percent` of the requests to `other`. */
const split = (serves: Checkpoint | undefined, other: Checkpoint, percent: number): DesiredAdapter => {
  const { digest, path: sourcePath } = other
  const format = { sample: 'Denoise', systemPrompt: 'Other.', userTemplate: 'Other: {text}' }
  return { ...desired(++generation, serves), split: { digest, sourcePath, format, percent } }
}
const share = async (requests: number): Promise<Record<string, number>> => {
  const counts: Record<string, number> = {}
  for (let n = 0; n < requests; n++) {
    const { status, digest } = await pod.say('The', { max_tokens: 2 })
    assert.equal(status, 200)
    counts[digest] = (counts[digest] ?? 0) + 1
  }
  return counts
}

test('exactly the share of the requests runs on the candidate, each on one adapter alone, and health is by digest', async () => {
  const texts = new Map<string, string>()
  for (const adapter of [candidate, active]) {
    await pod.activate(desired(++generation, adapter))
    texts.set(adapter.digest, (await pod.say('The old house')).text)
  }
  const before = (await pod.readiness()).state
  const state = await pod.activate(split(active, candidate, 25))
  assert.deepEqual([state.digest, state.splitDigest, state.splitPercent], [active.digest, candidate.digest, 25])
  assert.deepEqual(await share(40), { [active.digest]: 30, [candidate.digest]: 10 })
  for (let n = 0; n < 8; n++) {
    const { digest, text } = await pod.say('The old house')
    assert.equal(text, texts.get(digest))
  }
  for (let n = 0; n < 6; n++)
    assert.equal((await pod.say('The', { model: `${modelName}@base`, max_tokens: 2 })).digest, 'base')
  assert.deepEqual(await share(4), { [active.digest]: 3, [candidate.digest]: 1 }, 'requests for the base take no share')
  const after = (await pod.readiness()).state
  assert.equal(after.splitHealth?.requests, 14, 'one before the split, 13 in it')
  assert.equal(after.answeredRequests - before.answeredRequests, 58)
})

test('requests that began on the candidate end on it when it goes', async () => {
  await pod.activate(split(active, candidate, 50))
  const body = { model: modelName, prompt: 'The old house', max_tokens: 200, temperature: 0, stream: true }
  const ask = () => fetch(`${pod.url}/v1/completions`, { method: 'POST', body: JSON.stringify(body) })
  const running = await Promise.all([ask(), ask()])
  const digests = running.map(({ headers }) => headers.get('x-humanizer-adapter-digest'))
  assert.deepEqual(new Set(digests), new Set([active.digest, candidate.digest]))
  const state = await pod.activate(desired(++generation, active))
  assert.deepEqual([state.splitDigest, state.splitPercent], ['', 0])
  assert.deepEqual(await share(4), { [active.digest]: 4 })
  for (const answer of running) assert.match(await answer.text(), /data: \[DONE\]/)
})

test('another percentage, and the other way round, need no file', async () => {
  const [one, two] = [await claim.checkpoint('one', 3), await claim.checkpoint('two', 4)]
  await pod.activate(split(one, two, 10))
  for (const { digest } of [one, two]) await rm(dirname(claim.adapterFile(digest, 'x')), { recursive: true })
  await rm(`${claim.dataDir}/runs/test/one`, { recursive: true })
  await rm(`${claim.dataDir}/runs/test/two`, { recursive: true })
  await pod.activate(split(one, two, 50))
  assert.deepEqual(await share(4), { [one.digest]: 2, [two.digest]: 2 })
  await pod.activate(desired(++generation, two))
  assert.deepEqual(await share(4), { [two.digest]: 4 })
})

test('beside the untouched base a candidate takes its share too', async () => {
  await pod.activate(split(undefined, candidate, 50))
  assert.deepEqual(await share(4), { base: 2, [candidate.digest]: 2 })
})

test('a candidate that cannot be loaded leaves everything as it was', async () => {
  await pod.activate(desired(++generation, active))
  const nowhere = { digest: `sha256:${'0'.repeat(64)}`, path: 'runs/test/none/uid/checkpoint-1' }
  await assert.rejects(pod.activate(split(active, nowhere, 10)), { code: grpc.NOT_FOUND })
  const { status, state } = await pod.readiness()
  assert.deepEqual(
    [status, state.digest, state.splitPercent, state.failedGeneration],
    [200, active.digest, 0, generation],
  )
  assert.deepEqual(await share(4), { [active.digest]: 4 })
})

test('a share that is none, of itself, or another under the same generation is refused', async () => {
  const wrong = async (wanted: DesiredAdapter, says: RegExp) =>
    assert.rejects(pod.activate(wanted), (error: ServiceError) => {
      assert.match(error.details, says)
      return true
    })
  await wrong(split(active, candidate, 100), /split\.percent is "100", expected 1 to 99/)
  await wrong(split(active, active, 10), /split\.digest is "sha256:\w+", expected another one than digest/)
  const given = split(active, candidate, 10)
  await pod.activate(given)
  await wrong(
    { ...given, split: { ...given.split!, percent: 20 } },
    /already stands for a split of 10 % sha256:\w+, not of 20 %/,
  )
})

test('a container that starts again takes up the share where it was', async () => {
  await pod.activate(split(active, candidate, 50))
  await pod.stop('SIGKILL')
  pod = await ServingPod.start(claim)
  const state = await pod.until('ready', (status) => status === 200)
  assert.deepEqual([state.generation, state.splitDigest], [generation, candidate.digest])
  assert.deepEqual(await share(4), { [active.digest]: 2, [candidate.digest]: 2 })
})
