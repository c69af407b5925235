import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { type GenerateResponse, TrainerServiceService as Trainer } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { Channels } from '../../operator/trust/channel.ts'
import { createSigner } from '../../operator/trust/signer.ts'
import { freePort } from '../port.ts'
import { type Claim, makeClaim, runToEnd, startPod } from './training-pod.ts'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const publicPem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
const channels = new Channels(createSigner(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()), 20_000)
const claims: Claim[] = []
after(() => {
  channels.close()
  for (const claim of claims) claim.remove()
})

const steps = 24
const port = await freePort()
async function claimOf(evaluateEvery: number): Promise<Claim> {
  const claim = await makeClaim((config) => ({
    ...config,
    trust: { publicKey: publicPem, port },
    training: { ...config.training!, maxSteps: steps },
    evaluation: { ...config.evaluation!, everySteps: evaluateEvery },
    checkpoints: { everySteps: 0, keep: 1 },
  }))
  claims.push(claim)
  return claim
}
const last = (claim: Claim, name: string): Buffer => readFileSync(join(claim.runDirectory, `checkpoint-${steps}`, name))

/** What the run itself measured, by step. */
function evaluationsOf(claim: Claim): Map<number, number> {
  const { log_history } = JSON.parse(last(claim, 'trainer_state.json').toString()) as {
    log_history: { step: number; eval_loss?: number }[]
  }
  return new Map(log_history.flatMap(({ step, eval_loss }) => (eval_loss === undefined ? [] : [[step, eval_loss]])))
}

test('Evaluate and Generate in the middle of a run answer from the adapter of that step and change not one bit', async (t) => {
  const quiet = await claimOf(1)
  await runToEnd(quiet, quiet.config, 'pod-quiet')

  const asked = await claimOf(0)
  const { uid } = asked.config.owner!
  const pod = startPod(asked, asked.config, 'pod-asked')
  const peer = channels.peer({
    host: '127.0.0.1',
    port,
    podUid: 'pod-asked',
    ownerUid: uid,
    attempt: 1,
    generation: 0,
  })
  const run = { runUid: uid, attempt: 1 }
  const prompt = { ...run, prompt: 'The baker walked slowly.', maxTokens: 12, temperature: 0.8, seed: 7 }
  const evaluations: EvaluationResult[] = []
  const answers: GenerateResponse[] = []
  const refusals = new Set<string>()
  let hasEnded = false
  const ended = pod.ended.finally(() => {
    hasEnded = true
  })
  while (!hasEnded) {
    const [evaluation, first, second] = await Promise.all([
      peer.call(Trainer.evaluate, run),
      peer.call(Trainer.generate, prompt),
      peer.call(Trainer.generate, prompt),
    ])
    for (const answer of [evaluation, first, second]) if (answer.kind === 'refused') refusals.add(answer.code)
    if (evaluation.kind === 'answered') evaluations.push(evaluation.response.evaluation!)
    if (first.kind === 'answered') answers.push(first.response)
    if (first.kind === 'answered' && second.kind === 'answered' && first.response.step === second.response.step)
      assert.deepEqual(first.response, second.response, 'equal adapters, prompts and seeds give equal answers')
    else await sleep(20)
  }
  const { code, output } = await ended
  assert.equal(code, 0, output)

  const middle = (each: { step: number }) => each.step > 0 && each.step < steps
  t.diagnostic(`${evaluations.length} evaluations, ${answers.length} answers, refused: ${[...refusals].join(', ')}`)
  assert.ok(evaluations.filter(middle).length >= 3, JSON.stringify(evaluations))
  assert.ok(answers.filter(middle).length >= 3, JSON.stringify(answers))
  assert.ok(new Set(evaluations.map(({ step }) => step)).size >= 3)
  for (const code of refusals) assert.ok(['FAILED_PRECONDITION', 'UNAVAILABLE'].includes(code), code)

  const measured = evaluationsOf(quiet)
  for (const { step, loss } of evaluations) assert.equal(loss, measured.get(step), `the loss at step ${step}`)
  for (const { finishReason, completionTokens, promptTokens } of answers) {
    assert.ok(promptTokens > 0 && completionTokens >= 1 && completionTokens <= 12)
    assert.ok(finishReason === 'stop' || completionTokens === 12)
  }
  for (const name of ['adapter_model.safetensors', 'optimizer.safetensors'])
    assert.ok(last(asked, name).equals(last(quiet, name)), `${name} differs`)
  assert.deepEqual([...evaluationsOf(asked).keys()], [steps], "the calls are no part of the run's own evaluations")
})

test('a field of Generate that is out of its bounds is INVALID_ARGUMENT by name, and the run goes on', async () => {
  const claim = await claimOf(0)
  const config = { ...claim.config, training: { ...claim.config.training!, maxSteps: 2000 } }
  const { uid } = config.owner!
  const pod = startPod(claim, config, 'pod-bounds')
  const peer = channels.peer({
    host: '127.0.0.1',
    port,
    podUid: 'pod-bounds',
    ownerUid: uid,
    attempt: 1,
    generation: 0,
  })
  const usual = { runUid: uid, attempt: 1, prompt: 'Hello', maxTokens: 1, temperature: 0, seed: 0 }
  for (const deadline = Date.now() + 30_000; ; await sleep(100)) {
    if ((await peer.call(Trainer.generate, usual)).kind === 'answered') break
    assert.ok(Date.now() < deadline, 'no training after 30 s')
  }
  for (const [change, says] of [
    [{ maxTokens: 1025 }, /max_tokens is 1025; expected 1 to 1024/],
    [{ maxTokens: -1 }, /max_tokens is -1/],
    [{ temperature: 2.5 }, /temperature is 2\.5; expected 0 to 2/],
    [{ prompt: 'word '.repeat(100_000) }, /prompt is \d+ tokens; expected at most 255 beside the answer/],
  ] as const) {
    const answer = await peer.call(Trainer.generate, { ...usual, ...change })
    assert.equal(answer.kind === 'refused' && answer.code, 'INVALID_ARGUMENT', JSON.stringify(answer))
    assert.match(answer.kind === 'refused' ? answer.message : '', says)
  }
  const foreign = await peer.call(Trainer.evaluate, { runUid: uid, attempt: 2 })
  assert.equal(foreign.kind === 'refused' && foreign.code, 'NOT_FOUND')
  assert.equal((await peer.call(Trainer.generate, usual)).kind, 'answered')
  await peer.call(Trainer.stop, { runUid: uid, attempt: 1 })
  assert.equal((await pod.ended).code, 143)
})
