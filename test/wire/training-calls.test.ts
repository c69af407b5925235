import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import type { WatchRunResponse } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { TrainerServiceService as Trainer } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { type Answer, Channels, type Peer } from '../../operator/trust/channel.ts'
import { createSigner, type Signer } from '../../operator/trust/signer.ts'
import { freePort } from '../port.ts'
import { type Claim, makeClaim, type Pod, startPod } from './training-pod.ts'

const key = () => {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return {
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}
const operatorKey = key()
const signer = createSigner(operatorKey.privatePem)

let claim: Claim
let pod: Pod
let peer: Peer
let channels: Channels
const run = () => ({ runUid: claim.config.owner!.uid, attempt: 1 })
const get = (as: Peer = peer, using: Channels = channels) => using.peer(as).call(Trainer.getRun, run())

before(async () => {
  const port = await freePort()
  claim = await makeClaim((config) => ({
    ...config,
    trust: { publicKey: operatorKey.publicPem, port },
    training: { ...config.training!, maxSteps: 2000 },
    checkpoints: { everySteps: 0, keep: 1 },
    evaluation: { ...config.evaluation!, everySteps: 500 },
  }))
  pod = startPod(claim, claim.config, 'pod-called')
  peer = { host: '127.0.0.1', port, podUid: 'pod-called', ownerUid: claim.config.owner!.uid, attempt: 1, generation: 0 }
  channels = new Channels(signer, 20_000)
  const deadline = Date.now() + 30_000
  for (;;) {
    const answer = await get()
    if (answer.kind === 'answered' && answer.response.report?.state === 'RUN_STATE_TRAINING') break
    if (Date.now() > deadline) throw new Error(`no training: ${JSON.stringify(answer)}`)
    await sleep(200)
  }
})
after(async () => {
  channels.close()
  pod.process.kill('SIGKILL')
  await pod.ended
  claim.remove()
})

/** A signer that signs something else than it was asked to. */
const altered = (change: object): Signer => ({ sign: (call) => signer.sign({ ...call, ...change }) })
const expired = createSigner(operatorKey.privatePem, () => new Date(Date.now() - 120_000))
const fromTheFuture = createSigner(operatorKey.privatePem, () => new Date(Date.now() + 600_000))

const refused = [
  { call: 'signed by nobody', using: { sign: async () => 'e30.e30.' } },
  { call: 'signed by a stranger', using: createSigner(key().privatePem) },
  { call: 'with an expired token', using: expired },
  { call: 'with a token that lives too long', using: fromTheFuture },
  { call: 'for another pod', using: altered({ podUid: 'pod-other' }) },
  { call: 'for another run', using: altered({ ownerUid: 'other' }) },
  { call: 'for another method', using: altered({ method: Trainer.stop.path }) },
  { call: 'for another attempt', using: altered({ attempt: 2 }) },
] satisfies { call: string; using: Signer }[]

for (const { call, using } of refused)
  test(`a call ${call} is refused as UNAUTHENTICATED`, async () => {
    const strangers = new Channels(using, 5_000)
    const answer = await get(peer, strangers)
    strangers.close()
    assert.equal(answer.kind === 'refused' && answer.code, 'UNAUTHENTICATED', JSON.stringify(answer))
  })

test('a refused watch ends without a message', async () => {
  assert.deepEqual(await watch(0, 1, expired), [])
})

test('a request for another run is NOT_FOUND even when its token is good', async () => {
  const answer = await channels.peer(peer).call(Trainer.getRun, { runUid: 'other', attempt: 1 })
  assert.equal(answer.kind === 'refused' && answer.code, 'NOT_FOUND')
})

/** The first messages after `since`; fewer when the pod ends the stream. */
async function watch(since: number, messages: number, by: Signer = signer): Promise<WatchRunResponse[]> {
  const { path, requestSerialize, responseDeserialize } = Trainer.watchRun
  const noCheck = { rejectUnauthorized: false, checkServerIdentity: () => undefined }
  const client = new Client(`${peer.host}:${peer.port}`, credentials.createSsl(null, null, null, noCheck), {
    'grpc.ssl_target_name_override': 'humanizer',
  })
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${await by.sign({ ...peer, method: path })}`)
  const request = { ...run(), sinceSequence: since }
  const stream = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request, metadata)
  const seen: WatchRunResponse[] = []
  await new Promise<void>((resolve) => {
    stream.on('data', (message: WatchRunResponse) => {
      seen.push(message)
      if (seen.length === messages) stream.cancel()
    })
    stream.on('error', () => resolve())
    stream.on('end', () => resolve())
  })
  client.close()
  return seen
}

test('WatchRun sends growing sequences and resumes after the last one seen', async () => {
  const first = await watch(0, 3)
  const last = first.at(-1)!.sequence
  const second = await watch(last, 3)
  const sequences = [...first, ...second].map(({ sequence }) => sequence)
  assert.equal(sequences.length, 6)
  assert.deepEqual(
    sequences,
    [...new Set(sequences)].sort((a, b) => a - b),
  )
  assert.ok(second[0]!.sequence > last)
  assert.ok(second.at(-1)!.report!.progress!.step > 0)
  assert.ok((first[0]!.report!.progress?.totalSteps ?? 2000) === 2000)
})

const answered = <T>(answer: Answer<T>): T => {
  assert.equal(answer.kind, 'answered', JSON.stringify(answer))
  return (answer as { response: T }).response
}

test('SaveCheckpoint answers with a checkpoint that is sealed on disk', async () => {
  const { checkpoint } = answered(await channels.peer(peer).call(Trainer.saveCheckpoint, run()))
  assert.ok(checkpoint!.step > 0)
  assert.match(checkpoint!.digest, /^sha256:[0-9a-f]{64}$/)
  assert.ok(existsSync(join(claim.dataDir, checkpoint!.path, 'manifest.json')))
})

test('Stop seals a checkpoint and ends the pod with exit 143', async () => {
  answered(await channels.peer(peer).call(Trainer.stop, run()))
  const { code, result } = await pod.ended
  assert.equal(code, 143)
  assert.equal(result?.run?.checkpoints.at(-1)?.step, result?.run?.progress?.step)
})
