import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Answer } from '../trust/channel.ts'
import type { Trust } from '../trust/trust.ts'
import { TrainerClient } from './trainer-client.ts'
import { report, run } from './world.ts'

const at = (seconds: number): Date => new Date(Date.UTC(2026, 0, 1, 0, 0, seconds))
const pod = (fields: object = {}) => ({
  name: 'pod',
  uid: 'pod-uid',
  ip: '10.0.0.1',
  ready: true,
  since: at(0),
  ...fields,
})
const attempt = { number: 2, microBatchSize: 4, gradientAccumulation: 4, podUID: 'pod-uid' }
const attempts = [{ ...attempt, startTime: at(-60).toISOString() }]
const trained = run({}, { attempts })
const spokeAt = (seconds: number) =>
  run({}, { attempts, progress: { step: 1, totalSteps: 2, percent: '50%', updateTime: at(seconds).toISOString() } })
const spoke = spokeAt(10)

/** A pod that answers what `say` says, and remembers as whom it was called. */
function trainer(say: () => Answer<unknown>) {
  const peers: object[] = []
  const trust = {
    publicKeyPem: '',
    close: () => undefined,
    peer: (peer: object) => {
      peers.push(peer)
      return { call: async () => say(), watch: () => () => undefined }
    },
  } as unknown as Trust
  return { client: new TrainerClient(trust), peers }
}
const silence: Answer<never> = { kind: 'unreachable', message: 'no route' }
const refusal: Answer<never> = { kind: 'refused', code: 'UNAUTHENTICATED', message: 'signed by another key' }
const answer = (sequence: number): Answer<unknown> => ({ kind: 'answered', response: { report: report(), sequence } })

test('a trainer is called as the pod, run and attempt that it is', async () => {
  const { client, peers } = trainer(() => answer(1))
  const { report: heard } = await client.ask(trained, pod(), at(0))
  assert.equal(heard?.progress?.step, 10)
  assert.deepEqual(peers, [
    { host: '10.0.0.1', port: 9443, podUid: 'pod-uid', ownerUid: 'run-uid', attempt: 2, generation: 0 },
  ])
})

test('the clock of a trainer that answers runs from its last change', async () => {
  const answers = [answer(1), answer(1), answer(2), answer(2), silence]
  const { client } = trainer(() => answers.shift()!)
  const since: (Date | undefined)[] = []
  for (const seconds of [0, 10, 20, 30, 40]) since.push((await client.ask(trained, pod(), at(seconds))).unchangedSince)
  assert.deepEqual(since, [at(0), at(0), at(20), at(20), at(20)])
})

const silent: { a_silent_trainer: string; of: typeof trained; pod: ReturnType<typeof pod>; since: Date | undefined }[] =
  [
    {
      a_silent_trainer: 'that listens and was never heard may be cut off: not judged',
      of: trained,
      pod: pod(),
      since: undefined,
    },
    {
      a_silent_trainer: 'that never listened is judged from the first question',
      of: trained,
      pod: pod({ ready: false }),
      since: at(0),
    },
    {
      a_silent_trainer: 'that spoke to an earlier operator is judged from our first question',
      of: spoke,
      pod: pod(),
      since: at(0),
    },
    {
      a_silent_trainer: 'whose run was heard in an earlier attempt only is not judged',
      of: spokeAt(-90),
      pod: pod(),
      since: undefined,
    },
    {
      a_silent_trainer: 'whose attempt was heard from the pod that it replaces only is not judged',
      of: spokeAt(-10),
      pod: pod(),
      since: undefined,
    },
    {
      a_silent_trainer: 'in a newer pod than the one that spoke is not judged',
      of: spoke,
      pod: pod({ uid: 'other' }),
      since: undefined,
    },
    {
      a_silent_trainer: 'without an address that never listened is judged',
      of: trained,
      pod: pod({ ip: undefined, ready: false }),
      since: at(0),
    },
  ]
for (const { a_silent_trainer, of, pod, since } of silent)
  test(`a silent trainer ${a_silent_trainer}`, async () => {
    const { client } = trainer(() => silence)
    await client.ask(of, pod, at(0))
    assert.deepEqual(await client.ask(of, pod, at(60)), { unchangedSince: since })
  })

test('a trainer that refuses our calls lives: it is not judged, and its silence counts from its last refusal', async () => {
  const answers = [answer(1), refusal, refusal, silence, silence]
  const { client } = trainer(() => answers.shift()!)
  const since: (Date | undefined)[] = []
  for (const seconds of [20, 30, 40, 50, 60]) since.push((await client.ask(spoke, pod(), at(seconds))).unchangedSince)
  assert.deepEqual(since, [at(20), undefined, undefined, at(40), at(40)])
})

test('a new pod, or a run of the same name, starts with a clock of its own', async () => {
  const { client } = trainer(() => answer(1))
  await client.ask(trained, pod(), at(0))
  assert.deepEqual((await client.ask(trained, pod({ uid: 'second' }), at(50))).unchangedSince, at(50))
  client.forget('team/prose')
  assert.deepEqual((await client.ask(trained, pod({ uid: 'second' }), at(90))).unchangedSince, at(90))
})
