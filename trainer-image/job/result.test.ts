import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { metricKinds } from '../evaluate/metrics.ts'
import { FolderLocked } from '../storage/lock.ts'
import { SealBroken } from '../storage/sealed.ts'
import { exitCodes, failureOf, JobFailure } from './failure.ts'
import { fitResult, shorten, terminationBytes, writeTerminationMessage } from './result.ts'

const size = (result: JobResult): number => Buffer.byteLength(JSON.stringify(JobResult.toJSON(result)))
const ownerUid = '3e1f0c2a-7d0b-4a51-9a55-0d6a1c2b3e4f'
const checkpoint = (step: number, best: boolean) => ({
  name: `checkpoint-${step}`,
  step,
  digest: `sha256:${'c'.repeat(64)}`,
  path: `runs/${'n'.repeat(60)}/${'r'.repeat(40)}/${ownerUid}/checkpoint-${step}`,
  evaluation: {
    step,
    loss: 1.2345678901234567,
    lossInterval: 0.1234567890123456,
    humanLoss: 1.2345678901234567,
    labelTokens: 5000,
  },
  best,
})
const run = (checkpoints: number, warnings: string[]) => ({
  state: 'RUN_STATE_SUCCEEDED' as const,
  checkpoints: Array.from({ length: checkpoints }, (_, i) => checkpoint(i + 1, i === 2)),
  warnings,
})

const cases = [
  { given: 'little', result: { message: 'ok', run: run(2, ['w']) }, keeps: [1, 2] },
  { given: 'fifty checkpoints', result: { message: 'ok', run: run(50, []) }, keeps: [3, 48, 49, 50] },
  { given: 'a long message', result: { message: 'é'.repeat(5000), run: run(3, []) }, keeps: [1, 2, 3] },
  {
    given: 'long warnings',
    result: {
      message: '',
      run: run(
        5,
        Array.from({ length: 40 }, () => '警告'.repeat(100)),
      ),
    },
    keeps: [1, 2, 3, 4, 5],
  },
  {
    given: 'quotes that JSON doubles',
    result: { message: '"\\\n'.repeat(3000), run: run(30, ['"'.repeat(4000)]) },
    keeps: [3, 28, 29, 30],
  },
]
for (const { given, result, keeps } of cases)
  test(`a result with ${given} fits a termination message with best and newest checkpoint`, () => {
    const fitted = fitResult(JobResult.fromPartial({ ownerUid, attempt: 1, reason: 'Completed', ...result }))
    assert.ok(size(fitted) <= terminationBytes, `${size(fitted)} bytes`)
    assert.deepEqual(
      fitted.run?.checkpoints.map(({ step }) => step),
      keeps,
    )
    assert.deepEqual(JobResult.fromJSON(JSON.parse(JSON.stringify(JobResult.toJSON(fitted)))), fitted)
  })

test('a run that keeps as many checkpoints as it may tells every one, with step, digest and loss, whatever else it has to say', () => {
  const most = 20 + 1 // spec.checkpoints.keep at its maximum, and the best
  const evaluation = { ...checkpoint(1, false).evaluation, unquantizedLoss: 1.2345678901234567 }
  const result = JobResult.fromPartial({
    ownerUid,
    attempt: 2_147_483_647,
    reason: 'Completed',
    message: 'é'.repeat(5000),
    run: {
      state: 'RUN_STATE_SUCCEEDED',
      progress: {
        step: 100_000_000,
        totalSteps: 100_000_000,
        epoch: 999.1234567890123,
        trainLoss: 1.2345678901234567,
        evalLoss: 1.2345678901234567,
        tokensPerSecond: 123456.78901234567,
        learningRate: 1.234567890123e-10,
        gradientNorm: 1.2345678901234567,
        remainingSeconds: 1_000_000,
        peakMemoryBytes: 100_000_000_000,
        gpu: {
          utilizationPercent: 100,
          memoryUsedBytes: 100_000_000_000,
          memoryTotalBytes: 100_000_000_000,
          powerWatts: 1234.567,
          temperatureCelsius: 100,
        },
      },
      baseline: { ...evaluation, step: 0 },
      checkpoints: Array.from({ length: most }, (_, i) => checkpoint(100_000_000 - most + i, i === 3)),
      data: {
        examples: 1_000_000_000,
        chunked: 1_000_000_000,
        dropped: 1_000_000_000,
        promptTokens: 1_000_000_000_000,
        labelTokens: 1_000_000_000_000,
        packingEfficiency: 0.1234567890123456,
      },
      exact: true,
      resumedFromStep: 99_999_999,
      stoppedEarly: true,
      warnings: Array.from({ length: 16 }, () => '警告'.repeat(250)),
    },
  })
  const told = JobResult.fromJSON(JSON.parse(JSON.stringify(JobResult.toJSON(fitResult(result)))))
  assert.deepEqual(
    told.run?.checkpoints.map(({ step, digest, best, evaluation }) => [step, digest, best, evaluation?.loss]),
    result.run?.checkpoints.map(({ step, digest, best }) => [step, digest, best, 1.234568]),
  )
})

test('a dataset of as many sources as there may be tells the licence of each', () => {
  const counts = { read: 1_000_000, notHuman: 500_000, tooShort: 10_000, nearDuplicates: 20_000, train: 300_000 }
  const sources = Array.from({ length: 32 }, (_, i) => ({
    name: `source-of-human-text-number-${i}`,
    revision: 'c'.repeat(40),
    license: i % 2 ? 'CC-BY-SA-4.0' : '',
    counts,
  }))
  const preparation = { digest: checkpoint(1, true).digest, location: 'datasets/d', sources, summary: 'w'.repeat(2000) }
  const fitted = fitResult(JobResult.fromPartial({ ownerUid, attempt: 1, reason: 'Completed', preparation }))
  assert.ok(size(fitted) <= terminationBytes, `${size(fitted)} bytes`)
  assert.deepEqual(
    fitted.preparation?.sources.map(({ name, license }) => [name, license]),
    sources.map(({ name, license }) => [name, license]),
  )
  const few = { ...preparation, sources: sources.slice(0, 5) }
  const whole = fitResult(JobResult.fromPartial({ ownerUid, preparation: few }))
  assert.deepEqual(whole.preparation?.sources[4]?.counts?.read, counts.read)
})

test('a name or path that does not follow from owner and step is told', () => {
  const odd = { ...checkpoint(7, false), name: 'final', path: 'runs/elsewhere/checkpoint-7' }
  const fitted = fitResult(JobResult.fromPartial({ ownerUid, run: { checkpoints: [odd, ...run(20, []).checkpoints] } }))
  assert.deepEqual(
    fitted.run?.checkpoints.slice(0, 2).map(({ name, path }) => [name, path]),
    [
      ['final', 'runs/elsewhere/checkpoint-7'],
      ['', ''],
    ],
  )
})

test('a figure that is not finite is a word, as proto3 has it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'result-'))
  const path = join(folder, 'termination-log')
  const run = { progress: { trainLoss: Number.NaN, evalLoss: Number.NEGATIVE_INFINITY } }
  await writeTerminationMessage(path, JobResult.fromPartial({ ownerUid: 'u', run }))
  const told = JobResult.fromJSON(JSON.parse(readFileSync(path, 'utf8')))
  assert.deepEqual(
    [told.run?.progress?.trainLoss, told.run?.progress?.evalLoss],
    [Number.NaN, Number.NEGATIVE_INFINITY],
  )
  rmSync(folder, { recursive: true })
})

test('text is cut between characters, never inside one', () => {
  assert.equal(shorten('ab😀cd', 7), 'ab…')
  assert.equal(shorten('ab😀cd', 8), 'ab😀cd')
  assert.equal(shorten('ab😀cdefgh', 9), 'ab😀…')
  for (let bytes = 3; bytes < 40; bytes++)
    assert.ok(Buffer.byteLength(shorten('naïve 😀 日本語 text and more', bytes)) <= bytes)
})

test('the termination message is proto3 JSON', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'result-'))
  const path = join(folder, 'termination-log')
  await writeTerminationMessage(
    path,
    JobResult.fromPartial({ ownerUid: 'u', attempt: 2, reason: 'NotFound', message: 'gone' }),
  )
  assert.deepEqual(JSON.parse(readFileSync(path, 'utf8')), {
    ownerUid: 'u',
    attempt: 2,
    reason: 'NotFound',
    message: 'gone',
  })
  rmSync(folder, { recursive: true })
})

const coded = (code: string, message = 'words') => Object.assign(new Error(message), { code })
const failures = [
  { error: coded('ENOSPC'), reason: 'StorageFull' },
  { error: coded('EDQUOT'), reason: 'StorageFull' },
  { error: coded('EIO'), reason: 'StorageFailed' },
  { error: coded('EROFS'), reason: 'StorageFailed' },
  { error: coded('OUT_OF_MEMORY'), reason: 'DeviceOutOfMemory' },
  { error: coded('DEVICE_UNAVAILABLE'), reason: 'DriverUnusable' },
  { error: coded('DEVICE_LOST'), reason: 'DeviceLost' },
  { error: coded('DATA_INVALID'), reason: 'SourceInvalid' },
  { error: new FolderLocked('x'), reason: 'Locked' },
  { error: new SealBroken('x'), reason: 'SourceInvalid' },
  { error: new JobFailure('NotFound', 'x'), reason: 'NotFound' },
  { error: new Error('while saving', { cause: coded('ENOSPC') }), reason: 'StorageFull' },
  { error: new TypeError('undefined is not a function'), reason: 'Internal' },
  { error: 'a string', reason: 'Internal' },
] as const
for (const { error, reason } of failures)
  test(`${error instanceof Error ? `${error.name} ${error.message}` : error} ends a job as ${reason}`, () =>
    assert.equal(failureOf(error).reason, reason))

test('every exit code stands for one reason', () => {
  assert.equal(new Set(Object.values(exitCodes)).size, Object.keys(exitCodes).length)
})

test('best and newest keep their metrics beside many checkpoints; the best keeps its intervals longest', () => {
  const names = Object.keys(metricKinds)
  const metrics = names.map((name) => ({ name, value: 0.123456789, low: 0.1, high: 0.2345178901 }))
  const measured = (step: number, best: boolean) => {
    const plain = checkpoint(step, best)
    return { ...plain, evaluation: { ...plain.evaluation, metrics } }
  }
  const evidence = 'held-out loss rose, and this is told at some length. '.repeat(5)
  const finding = { verdict: 'Overfitting', evidence }
  const run = {
    baseline: measured(0, false).evaluation,
    checkpoints: [measured(1, true), measured(2, false), measured(3, false)],
    diagnosis: { verdict: 'Overfitting', findings: [finding, finding, finding], advice: ['train less'] },
  }
  const fitted = fitResult(JobResult.fromPartial({ ownerUid, attempt: 1, reason: 'Completed', run })).run!
  const told = (evaluation: { metrics: readonly { low?: number | undefined }[] } | undefined) => [
    evaluation?.metrics.length,
    evaluation?.metrics.filter(({ low }) => low !== undefined).length,
  ]
  assert.ok(size(JobResult.fromPartial({ ownerUid, attempt: 1, reason: 'Completed', run: fitted })) <= terminationBytes)
  assert.deepEqual(told(fitted.checkpoints[0]?.evaluation), [names.length, names.length])
  for (const { low = 1, high = 0 } of fitted.checkpoints[0]!.evaluation!.metrics)
    assert.ok(low <= 0.1 && high >= 0.2345178901, `the interval ${low} to ${high} is narrower than what was measured`)
  assert.deepEqual(told(fitted.checkpoints[1]?.evaluation), [0, 0])
  assert.equal(told(fitted.checkpoints[2]?.evaluation)[0], names.length)
  assert.equal(told(fitted.baseline)[0], names.length)
  assert.equal(fitted.diagnosis?.verdict, 'Overfitting')
})
