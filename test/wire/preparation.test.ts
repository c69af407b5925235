import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, test } from 'node:test'
import { credentials, Metadata, status } from '@grpc/grpc-js'
import { SignJWT } from 'jose'
import type { WatchPreparationResponse } from '#proto/humanizer/trainer/v1/preparation_service.ts'
import { PreparationServiceClient } from '#proto/humanizer/trainer/v1/preparation_service.ts'
import { progressBoard } from '../../trainer-image/dataset/progress.ts'
import { preparationService } from '../../trainer-image/dataset/service.ts'
import { startServer } from '../../trainer-image/service/server.ts'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const board = progressBoard()
const server = await startServer({
  trust: { publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(), port: 0 },
  podUid: 'pod-1',
  ownerUid: 'dataset-1',
  attempt: 1,
  services: [preparationService('dataset-1', board)],
  host: '127.0.0.1',
})
const client = new PreparationServiceClient(
  `127.0.0.1:${server.port}`,
  credentials.createSsl(null, null, null, { rejectUnauthorized: false }),
)
after(async () => {
  client.close()
  await server.close()
})

async function tokenFor(method: string): Promise<Metadata> {
  const jwt = await new SignJWT({
    attempt: 1,
    generation: 0,
    method: `/humanizer.trainer.v1.PreparationService/${method}`,
  })
    .setProtectedHeader({ alg: 'EdDSA' })
    .setAudience('pod-1')
    .setSubject('dataset-1')
    .setExpirationTime('30s')
    .sign(privateKey)
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${jwt}`)
  return metadata
}

const get = (datasetUid: string, metadata: Metadata) =>
  new Promise((resolve, reject) =>
    client.getPreparation({ datasetUid }, metadata, (error, response) => (error ? reject(error) : resolve(response))),
  )

test('GetPreparation tells where the preparation stands', async () => {
  const progress = {
    stage: 'Cleaning',
    source: 'prose',
    rows: 1200,
    percent: 31.5,
    bytes: 5e9,
    totalBytes: 8e9,
  } as const
  board.report(progress)
  assert.deepEqual(await get('dataset-1', await tokenFor('GetPreparation')), {
    progress: { ...progress, remainingSeconds: undefined },
    sequence: 1,
  })
})

test('a call for another dataset, or without a token, is refused', async () => {
  await assert.rejects(get('dataset-2', await tokenFor('GetPreparation')), { code: status.NOT_FOUND })
  await assert.rejects(get('dataset-1', new Metadata()), { code: status.UNAUTHENTICATED })
})

test('WatchPreparation sends what is newer, at once and as it comes, to several watchers', async () => {
  const watch = async (sinceSequence: number, wanted: number) => {
    const seen: WatchPreparationResponse[] = []
    const call = client.watchPreparation({ datasetUid: 'dataset-1', sinceSequence }, await tokenFor('WatchPreparation'))
    call.on('error', () => {})
    await new Promise<void>((resolve) =>
      call.on('data', (response: WatchPreparationResponse) => {
        seen.push(response)
        if (response.sequence >= wanted) resolve()
      }),
    )
    call.cancel()
    return seen
  }
  const before = board.sequence
  const watchers = [watch(0, before + 2), watch(before, before + 2), watch(before + 1000, before + 2)]
  await new Promise((resolve) => setTimeout(resolve, 200))
  board.report({ stage: 'Writing', source: '', rows: 10, percent: 90 })
  await new Promise((resolve) => setTimeout(resolve, 100))
  board.report({ stage: 'Writing', source: '', rows: 20, percent: 95 })
  const sequences = (await Promise.all(watchers)).map((seen) => seen.map(({ sequence }) => sequence - before))
  assert.deepEqual(sequences, [
    [0, 1, 2],
    [1, 2],
    [0, 1, 2],
  ])
})
