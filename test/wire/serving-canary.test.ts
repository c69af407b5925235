/** A pod serves an adapter only if it computes on it what was computed when it was sealed. */
import assert from 'node:assert/strict'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { status as grpc, type ServiceError } from '@grpc/grpc-js'
import { failureReason } from '../../operator/release/obstacle.ts'
import type { Canary } from '../../trainer-image/evaluate/canary.ts'
import { engineInfo } from '../../trainer-image/native/index.ts'
import { readManifest } from '../../trainer-image/storage/sealed.ts'
import { measuredOn } from './canary-set.ts'
import { Claim, desired, quantization, ServingPod } from './serving-pod.ts'
import { makeClaim, runToEnd } from './training-pod.ts'

let claim: Claim
let pod: ServingPod
/** A base of the same shape with other weights. */
let other: string
let generation = 1
/** So that the tolerance is the narrow one on every processor. */
const float32 = { quantization: { ...quantization, computeDtype: 'Float32' } }

before(async () => {
  claim = await Claim.create()
  other = join(claim.root, 'other')
  await cp(claim.model, other, { recursive: true })
  await changeWeights(join(other, 'model.safetensors'))
  await claim.want(generation, undefined)
  pod = await ServingPod.start(claim, float32)
  await pod.until('ready', (status) => status === 200)
})
after(async () => {
  await pod?.stop('SIGKILL')
  await claim?.remove()
})

/** The second half of the file is weights only: one bit of each byte's pair there becomes another. */
async function changeWeights(path: string): Promise<void> {
  const bytes = await readFile(path)
  for (let at = bytes.length >> 1; at < bytes.length; at += 16) bytes[at]! ^= 0x40
  await writeFile(path, bytes)
}

async function refused(
  adapter: { digest: string; path: string } | undefined,
  code: grpc,
  says: RegExp,
): Promise<string> {
  const before = await pod.say('The old house')
  const { state: was } = await pod.readiness()
  await assert.rejects(pod.activate(desired(++generation, adapter)), (error: ServiceError) => {
    assert.equal(grpc[error.code], grpc[code], error.details)
    assert.match(error.details, says)
    return true
  })
  const { status, state } = await pod.readiness()
  assert.deepEqual([status, state.digest, state.failedGeneration], [200, was.digest, generation])
  assert.deepEqual(await pod.say('The old house'), before, 'what served serves on')
  return state.failure
}

test('an adapter serves that computes here what it computed there, on every path of this processor', async () => {
  for (const [index, path] of engineInfo().instructionPaths.entries()) {
    const adapter = await claim.checkpoint(`good-${path}`, index + 1, { canary: measuredOn(claim.model, path) })
    await pod.activate(desired(++generation, adapter))
    assert.equal((await pod.say('The')).digest, adapter.digest)
  }
})

test('an adapter whose bytes verify but that was trained on another base is refused with the numbers', async () => {
  const adapter = await claim.checkpoint('foreign', 20, { canary: measuredOn(other) })
  const words = await refused(adapter, grpc.FAILED_PRECONDITION, /^canary text one: loss \d\.\d{5} here/)
  assert.match(
    words,
    /when it was sealed \(CPU \w+\), expected within 0\.0001; the untouched base differs as well: canary/,
  )
  assert.equal(failureReason(words), 'CanaryFailed')
})

test('an adapter that computes something else on the right base is refused, and the base is cleared', async () => {
  const off = (canary: Canary) => ({
    ...canary,
    texts: canary.texts.map((text) => ({ ...text, loss: text.loss + 0.01 })),
  })
  const adapter = await claim.checkpoint('off', 21, { canary: measuredOn(claim.model, undefined, off) })
  const words = await refused(adapter, grpc.FAILED_PRECONDITION, /expected within 0\.0001; the untouched base agrees$/)
  assert.equal(failureReason(words), 'CanaryFailed')
})

test('a canary set that cannot be read is broken, like any other byte of the adapter', async () => {
  const adapter = await claim.checkpoint('unreadable', 22, { canary: async () => ({ backend: 'CPU', texts: [{}] }) })
  await refused(adapter, grpc.DATA_LOSS, /the canary set in the manifest of .* cannot be read/)
})

test('the untouched base is refused when no adapter on the claim agrees with it, and served when one does', async () => {
  await pod.deactivate(++generation)
  const lying = (canary: Canary) => ({
    ...canary,
    texts: canary.texts.map((text) => ({ ...text, baseLoss: text.baseLoss - 0.5 })),
  })
  const elsewhere = await Claim.create()
  await elsewhere.want(1, undefined)
  const adapter = await elsewhere.checkpoint('lying', 23, { canary: measuredOn(elsewhere.model, undefined, lying) })
  const its = await ServingPod.start(elsewhere, float32)
  try {
    await its.until('ready', (status) => status === 200)
    await its.activate(desired(2, adapter))
    await assert.rejects(its.deactivate(3), (error: ServiceError) => {
      assert.match(error.details, /^the base, canary text one: loss \d\.\d{5} here/)
      assert.equal(failureReason(error.details), 'CanaryFailed')
      return true
    })
    assert.equal((await its.say('The')).digest, adapter.digest)
    const honest = await elsewhere.checkpoint('honest', 24, { canary: measuredOn(elsewhere.model) })
    await its.activate(desired(4, honest))
    await its.deactivate(5)
    assert.equal((await its.say('The')).digest, 'base')
  } finally {
    await its.stop('SIGKILL')
    await elsewhere.remove()
  }
})

test('a trainer seals the set with each checkpoint, and its adapter serves by it', async () => {
  const training = await makeClaim((config) => config, { dataDir: claim.dataDir })
  const { checkpoints } = await runToEnd(training, training.config, 'trainer')
  assert.ok(checkpoints.length > 1)
  for (const { digest, path } of checkpoints) {
    const { canary } = (await readManifest(join(claim.dataDir, path)))!
    const { backend, texts: sealed } = canary as Canary
    assert.equal(backend, 'CPU')
    assert.ok(sealed.length >= 2)
    for (const { text, tokens, promptTokens, loss, baseLoss } of sealed) {
      assert.ok(text.length > 0 && tokens.length > promptTokens && loss > 0 && loss !== baseLoss)
    }
    await pod.activate(desired(++generation, { digest, path }))
    assert.equal((await pod.say('The')).digest, digest)
    const promoted = await readManifest(join(claim.adapterFile(digest, '.')))
    assert.deepEqual(promoted?.canary, canary)
  }
})
