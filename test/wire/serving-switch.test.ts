import assert from 'node:assert/strict'
import { appendFile, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { status as grpc, type ServiceError } from '@grpc/grpc-js'
import { type Checkpoint, Claim, desired, modelName, quantization, ServingPod } from './serving-pod.ts'

let claim: Claim
let pod: ServingPod
let first: Checkpoint
let second: Checkpoint
let generation = 1

before(async () => {
  claim = await Claim.create()
  first = await claim.checkpoint('one', 1)
  second = await claim.checkpoint('two', 2)
  await claim.want(generation, undefined)
  pod = await ServingPod.start(claim)
  await pod.until('ready', (status) => status === 200)
})
after(async () => {
  await pod?.stop('SIGKILL')
  await claim?.remove()
})

const code = (wanted: grpc) => (error: ServiceError) => {
  assert.equal(grpc[error.code], grpc[wanted], error.details)
  return true
}
const nameOf = (adapter: Checkpoint | undefined): string => adapter?.digest ?? 'base'
const prompts = ['The old house', 'She said that', 'In the morning', 'A letter came']

interface Answer {
  readonly status: number
  readonly digest: string
  readonly prompt: string
  readonly text: string
}

/** A streamed chat of one prompt, so that switches fall into the middle of answers. */
async function stream(prompt: string): Promise<Answer> {
  const body = { model: modelName, prompt, max_tokens: 24, temperature: 0, stream: true }
  const answer = await fetch(`${pod.url}/v1/completions`, { method: 'POST', body: JSON.stringify(body) })
  const events = (await answer.text()).split('\n\n').filter((line) => line.startsWith('data: {'))
  const text = events.map((event) => JSON.parse(event.slice(6)).choices[0].text as string).join('')
  return { status: answer.status, digest: answer.headers.get('x-humanizer-adapter-digest') ?? '', prompt, text }
}

test('under a steady load twenty switches lose no request, and each answer is of the one adapter its header names', async (t) => {
  const adapters = [undefined, first, second]
  const expected = new Map<string, string>()
  for (const adapter of adapters) {
    await pod.activate(desired(++generation, adapter))
    for (const prompt of prompts) expected.set(`${nameOf(adapter)} ${prompt}`, (await pod.say(prompt)).text)
  }
  assert.equal(new Set(expected.values()).size, expected.size, 'every adapter answers every prompt in its own way')

  let loading = true
  const answers: Answer[] = []
  const client = async (number: number): Promise<void> => {
    for (let turn = number; loading; turn++) {
      const prompt = prompts[turn % prompts.length]!
      answers.push(turn % 2 === 0 ? await stream(prompt) : { ...(await pod.say(prompt)), prompt })
    }
  }
  const began = performance.now()
  const clients = Array.from({ length: 4 }, (_, number) => client(number))
  const switches: number[] = []
  for (let count = 0; count < 20; count++) {
    const adapter = adapters[count % adapters.length]
    const started = performance.now()
    await pod.activate(desired(++generation, adapter))
    switches.push(performance.now() - started)
    assert.equal(
      (await pod.say(prompts[0]!)).digest,
      nameOf(adapter),
      'what begins after a switch runs on the new adapter',
    )
    for (const enough = answers.length + 5; answers.length < enough; ) await sleep(10) // under load, however slow the machine
  }
  loading = false
  await Promise.all(clients)
  const rate = answers.length / ((performance.now() - began) / 1000)

  assert.deepEqual(
    answers.filter(({ status }) => status !== 200),
    [],
  )
  const mixed = answers.filter(({ digest, prompt, text }) => expected.get(`${digest} ${prompt}`) !== text)
  assert.deepEqual(mixed, [])
  assert.equal(new Set(answers.map(({ digest }) => digest)).size, 3)
  t.diagnostic(
    `${answers.length} requests at ${rate.toFixed(0)}/s; a switch took ${Math.max(...switches).toFixed(0)} ms at most`,
  )
})

test('a lower generation and another digest under the same generation are refused; what serves stays', async () => {
  await pod.activate(desired(++generation, first))
  await assert.rejects(pod.activate(desired(generation - 1, second)), code(grpc.FAILED_PRECONDITION))
  await assert.rejects(pod.activate(desired(generation, second)), code(grpc.FAILED_PRECONDITION))
  await assert.rejects(pod.deactivate(generation - 1), code(grpc.FAILED_PRECONDITION))
  assert.equal((await pod.say('The')).digest, first.digest)
  assert.equal((await pod.activate(desired(generation, first))).digest, first.digest)
})

test('of two racing calls the higher generation serves, in whichever order they arrive', async () => {
  for (const order of [0, 1]) {
    const calls = [desired(generation + 1, first), desired(generation + 2, second)]
    generation += 2
    const racing = (order === 0 ? calls : calls.toReversed()).map((wanted) => pod.activate(wanted))
    await Promise.allSettled(racing)
    const { state } = await pod.readiness()
    assert.deepEqual([state.digest, state.generation], [second.digest, generation])
  }
})

test('an adapter whose bytes changed is refused with DATA_LOSS, the old one serves on and the pod stays ready', async () => {
  const broken = await claim.checkpoint('broken', 3)
  await pod.activate(desired(++generation, first))
  const before = await pod.say('The')
  await appendFile(join(claim.dataDir, broken.path, 'adapter_model.safetensors'), 'x')
  await assert.rejects(pod.activate(desired(++generation, broken)), code(grpc.DATA_LOSS))
  assert.deepEqual(await pod.say('The'), before)
  const { status, state } = await pod.readiness()
  assert.equal(status, 200)
  assert.deepEqual([state.digest, state.failedGeneration], [first.digest, generation])
  assert.match(state.failure, /adapter_model\.safetensors|holds adapter/)
  // The pod tries a failed load again by itself, now and then: each try is gone when it has failed.
  const left = async () =>
    (await readdir(join(claim.dataDir, 'adapters'))).filter((name) => name.includes(broken.digest.slice(7)))
  for (const end = Date.now() + 30_000; (await left()).length > 0; await sleep(100))
    assert.ok(Date.now() < end, `left behind: ${await left()}`)
})

test('an adapter that was promoted and changed afterwards is refused when it is loaded again', async () => {
  const rotten = await claim.checkpoint('rotten', 4)
  await pod.activate(desired(++generation, rotten))
  await pod.activate(desired(++generation, first))
  await appendFile(claim.adapterFile(rotten.digest, 'adapter_config.json'), ' ')
  await assert.rejects(pod.activate(desired(++generation, rotten)), code(grpc.DATA_LOSS))
  assert.equal((await pod.say('The')).digest, first.digest)
})

test('a checkpoint that never existed is NOT_FOUND, one of another base FAILED_PRECONDITION naming both', async () => {
  const nowhere = { digest: `sha256:${'0'.repeat(64)}`, path: 'runs/test/none/uid/checkpoint-1' }
  await assert.rejects(pod.activate(desired(++generation, nowhere)), code(grpc.NOT_FOUND))
  const foreign = await claim.checkpoint('foreign', 5, { base: { digest: `sha256:${'f'.repeat(64)}`, quantization } })
  await assert.rejects(pod.activate(desired(++generation, foreign)), (error: ServiceError) => {
    assert.equal(error.code, grpc.FAILED_PRECONDITION)
    assert.match(error.details, new RegExp(`f{64}.*${claim.base.digest}`))
    return true
  })
  assert.equal((await pod.say('The')).digest, first.digest)
})

test('a claim of a digest that the checkpoint does not have is DATA_LOSS', async () => {
  const lie = { ...second, digest: `sha256:${'1'.repeat(64)}` }
  await assert.rejects(pod.activate(desired(++generation, lie)), code(grpc.DATA_LOSS))
})

test('an unsigned call is refused and changes nothing', async () => {
  await assert.rejects(pod.activate(desired(generation + 1, second), 'none'), code(grpc.UNAUTHENTICATED))
  assert.equal((await pod.readiness()).state.digest, first.digest)
})

test('a token is good for the generation that it was signed for, and for no other', async () => {
  for (const signed of [generation, generation + 2, generation + 1000]) {
    await assert.rejects(pod.activate(desired(generation + 1, second), signed), code(grpc.UNAUTHENTICATED))
    await assert.rejects(pod.deactivate(generation + 1, signed), code(grpc.UNAUTHENTICATED))
  }
  await assert.rejects(pod.activate(desired(generation + 1, second), generation - 1), code(grpc.FAILED_PRECONDITION))
  const { state } = await pod.readiness()
  assert.deepEqual([state.digest, state.failedGeneration > generation], [first.digest, false])
})

test('an adapter serves on and comes back after its run was deleted', async () => {
  await rm(join(claim.dataDir, 'runs'), { recursive: true })
  await pod.deactivate(++generation)
  assert.equal((await pod.say('The')).digest, 'base')
  await pod.activate({ ...desired(++generation, second), sourcePath: '' })
  assert.equal((await pod.say('The')).digest, second.digest)
})

test('with gRPC blocked, a change of desired.json alone is followed within seconds', async () => {
  await claim.want(++generation, first)
  const state = await pod.until('switched', (_, { digest }) => digest === first.digest)
  assert.equal(state.generation, generation)
  await claim.want(generation - 1, second)
  await sleep(1500)
  assert.equal((await pod.readiness()).state.digest, first.digest)
})

test('a previous adapter that is warm serves again at once, without its files', async () => {
  const [before, next] = [await claim.checkpoint('before', 6), await claim.checkpoint('next', 7)]
  await pod.activate({ ...desired(++generation, before), warmSeconds: 60 })
  const said = await pod.say('The old house')
  await pod.activate({ ...desired(++generation, next), warmSeconds: 60 })
  await rm(dirname(claim.adapterFile(before.digest, 'x')), { recursive: true })
  await rm(join(claim.dataDir, before.path), { recursive: true })
  await pod.activate({ ...desired(++generation, before), warmSeconds: 0 })
  assert.deepEqual(await pod.say('The old house'), said)
  await pod.activate(desired(++generation, next))
  await assert.rejects(pod.activate(desired(++generation, before)), code(grpc.NOT_FOUND), 'it is not warm any more')
})
