import 'reflect-metadata'
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto'
import { after, before, test } from 'node:test'
import { Server, ServerCredentials, status } from '@grpc/grpc-js'
import * as x509 from '@peculiar/x509'
import { jwtVerify } from 'jose'
import { GetRunResponse, TrainerServiceService } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import type { Peer } from './channel.ts'
import { createTrust, type Trust } from './trust.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const settings = {
  privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
  publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }) as string,
  callTimeoutMs: 500,
}
const request = { runUid: 'run-uid', attempt: 2 }

/** A pod: its own certificate, and a service that remembers the tokens it was shown. */
class Pod {
  readonly tokens: string[] = []
  readonly #server = new Server()
  answer: 'answer' | 'refuse' | 'hang' = 'answer'
  port = 0

  async start(): Promise<this> {
    this.#server.addService(TrainerServiceService, {
      getRun: (
        call: { metadata: { get(name: string): unknown[] } },
        reply: (error: object | null, value?: unknown) => void,
      ) => {
        this.tokens.push(String(call.metadata.get('authorization')[0]))
        if (this.answer === 'answer') reply(null, GetRunResponse.fromPartial({ sequence: 7 }))
        if (this.answer === 'refuse') reply({ code: status.UNAUTHENTICATED, details: 'not for this pod' })
      },
      watchRun: () => undefined,
      saveCheckpoint: () => undefined,
      stop: () => undefined,
    })
    const { key, cert } = await certificate()
    const credentials = ServerCredentials.createSsl(null, [
      { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) },
    ])
    this.port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', credentials, (error, port) => (error ? reject(error) : resolve(port)))
    })
    return this
  }

  stop(): void {
    this.#server.forceShutdown()
  }
}

async function certificate(): Promise<{ key: string; cert: string }> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=pod',
    keys,
    signingAlgorithm: algorithm,
  })
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return { key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`, cert: cert.toString('pem') }
}

let pod: Pod
let trust: Trust
before(async () => {
  pod = await new Pod().start()
  trust = createTrust(settings)
})
after(() => {
  trust.close()
  pod.stop()
})

const peer = (): Peer => ({
  ...{ host: '127.0.0.1', port: pod.port, podUid: 'pod-uid', ownerUid: 'run-uid', attempt: 2, generation: 5 },
})

test('a call carries a token for this pod, owner, attempt, generation and method, good for a minute', async () => {
  pod.answer = 'answer'
  const answer = await trust.peer(peer()).call(TrainerServiceService.getRun, request)
  assert.equal(answer.kind === 'answered' && answer.response.sequence, 7)
  const token = pod.tokens.at(-1)!.replace(/^Bearer /, '')
  const { payload, protectedHeader } = await jwtVerify(token, createPublicKey(settings.publicKeyPem))
  assert.equal(protectedHeader.alg, 'EdDSA')
  const { aud, sub, attempt, generation, method, exp, iat } = payload
  assert.deepEqual(
    { aud, sub, attempt, generation, method },
    {
      ...{ aud: 'pod-uid', sub: 'run-uid', attempt: 2, generation: 5 },
      method: '/humanizer.trainer.v1.TrainerService/GetRun',
    },
  )
  assert.equal(exp! - iat!, 60)
})

test('a refusal is told with its code', async () => {
  pod.answer = 'refuse'
  const answer = await trust.peer(peer()).call(TrainerServiceService.getRun, request)
  assert.deepEqual(answer, { kind: 'refused', code: 'UNAUTHENTICATED', message: 'not for this pod' })
})

test('a pod that hangs is unreachable after the deadline', async () => {
  pod.answer = 'hang'
  const started = performance.now()
  const answer = await trust.peer(peer()).call(TrainerServiceService.getRun, request)
  assert.equal(answer.kind, 'unreachable')
  assert.ok(performance.now() - started < 2000)
})

test('a pod that is not there is unreachable', async () => {
  const answer = await trust.peer({ ...peer(), port: 1 }).call(TrainerServiceService.getRun, request)
  assert.equal(answer.kind, 'unreachable')
})

test('a key that is not Ed25519 is refused', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' })
  assert.throws(() => createTrust({ ...settings, privateKeyPem: rsa as string }), /wanted an Ed25519 key, got rsa/)
})
