import assert from 'node:assert/strict'
import { test } from 'node:test'
import { status } from '@grpc/grpc-js'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { JobFailure } from '../job/failure.ts'
import { callStatusOf } from '../service/errors.ts'
import { BetweenSteps, type Desk } from './between-steps.ts'

const never = new AbortController().signal
const code = (wanted: status) => (error: unknown) => callStatusOf(error).code === wanted

/** A desk that notes what it is asked, and waits for `held` or the end of its signal. */
function desk(held: Promise<void> = Promise.resolve()) {
  const asked: number[] = []
  const evaluate: Desk['evaluate'] = async (step, signal) => {
    asked.push(step)
    const ended = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    await Promise.race([held, ended])
    signal.throwIfAborted()
    return EvaluationResult.fromPartial({ step })
  }
  return { asked, evaluate, generate: () => Promise.reject(new TypeError('a bug')) } satisfies Desk & {
    asked: number[]
  }
}

const evaluation = (between: BetweenSteps, hungUp = never) =>
  between.ask((at, step, signal) => at.evaluate(step, signal), hungUp)

test('while there is no model, before the training and after it, calls are refused', async () => {
  const between = new BetweenSteps()
  await assert.rejects(evaluation(between), code(status.FAILED_PRECONDITION))
  between.open(desk())
  const waits = evaluation(between)
  await Promise.all([between.close(), assert.rejects(waits, code(status.FAILED_PRECONDITION))])
  await assert.rejects(evaluation(between), code(status.FAILED_PRECONDITION))
})

test('calls wait for the end of a step and are told which', async () => {
  const between = new BetweenSteps()
  const here = desk()
  between.open(here)
  assert.equal(await between.serve(1, never), false)
  const asked = [evaluation(between), evaluation(between)]
  assert.deepEqual(here.asked, [])
  assert.equal(await between.serve(2, never), true)
  assert.deepEqual(
    (await Promise.all(asked)).map(({ step }) => step),
    [2, 2],
  )
  assert.equal(await between.serve(3, never), false)
})

test('the ninth call that waits is refused, one that was hung up is not served', async () => {
  const between = new BetweenSteps()
  const here = desk()
  between.open(here)
  const gone = new AbortController()
  void evaluation(between, gone.signal)
  const others = Array.from({ length: 7 }, () => evaluation(between))
  await assert.rejects(evaluation(between), code(status.RESOURCE_EXHAUSTED))
  gone.abort()
  await between.serve(1, never)
  await Promise.all(others)
  assert.equal(here.asked.length, 7)
})

test('what fails fails for its caller alone', async () => {
  const between = new BetweenSteps()
  between.open(desk())
  const failing = assert.rejects(
    between.ask(() => Promise.reject(new TypeError('a bug')), never),
    code(status.INTERNAL),
  )
  const other = evaluation(between)
  assert.equal(await between.serve(1, never), true)
  await Promise.all([failing, other])
})

test('a stop leaves at once, its callers hear of it, and the end waits for what was begun', async () => {
  const between = new BetweenSteps()
  const { promise: held, resolve: letGo } = Promise.withResolvers<void>()
  between.open({ ...desk(), evaluate: () => held.then(() => EvaluationResult.fromPartial({})) })
  const stop = new AbortController()
  const asked = evaluation(between)
  const cut = assert.rejects(
    between.ask((_, __, signal) => held.then(() => signal.throwIfAborted()), never),
    code(status.UNAVAILABLE),
  )
  const serving = assert.rejects(between.serve(1, stop.signal), { reason: 'Stopped' })
  stop.abort(new JobFailure('Stopped', 'SIGTERM'))
  await serving
  let hasClosed = false
  const closing = between.close().then(() => {
    hasClosed = true
  })
  await new Promise(setImmediate)
  assert.equal(hasClosed, false)
  letGo()
  await Promise.all([closing, asked, cut])
})
