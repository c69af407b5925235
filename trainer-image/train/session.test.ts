import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { pino } from 'pino'
import { type RunReport, TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { JobFailure } from '../job/failure.ts'
import { openModel } from '../model/open.ts'
import type { Adapter, Batch, Model } from '../native/index.ts'
import type { Attempt } from './attempt.ts'
import { findCheckpoints } from './checkpoint.ts'
import { Checkpoints } from './checkpoints.ts'
import type { CheckedConfig } from './configuration.ts'
import { LiveRun, Requests } from './live-run.ts'
import type { Plan } from './plan.ts'
import { resumedState } from './resume.ts'
import { type Session, trainSession } from './session.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const config = TrainConfig.fromPartial({
  lora: { rank: 1, alpha: 1 },
  owner: { namespace: 'writers', name: 'first', uid: 'u' },
  model: { digest: `sha256:${'b'.repeat(64)}` },
  quantization: { type: 'NF4', blockSize: 64 },
  training: { epochs: 1, microBatchSize: 1, maxGradientNorm: 1 },
  evaluation: { everySteps: 2 },
  checkpoints: { everySteps: 2, keep: 3 },
  earlyStopping: { patience: 3 },
  logging: { everySteps: 1 },
}) as CheckedConfig
const batch: Batch = {
  tokens: Int32Array.of(1, 2),
  labels: Int32Array.of(2, -100),
  documents: Int32Array.of(0, 2),
  sequences: Int32Array.of(0, 2),
  sequenceOrdinals: Int32Array.of(0),
}
const example = { id: 'a', tokens: batch.tokens, labels: batch.labels, promptTokens: 1, labelTokens: 1 }
const evaluationSet = { examples: [example, { ...example, id: 'b' }], capacity: 2, sequencesPerBatch: 1, seed: 1 }

let runDirectory = ''
let stop: AbortController
beforeEach(() => {
  runDirectory = mkdtempSync(join(tmpdir(), 'session-'))
  stop = new AbortController()
})
afterEach(() => rmSync(runDirectory, { recursive: true }))

/** A model that answers at once, but for what `of` replaces; everything asked of it is written down. */
function engine(of: Partial<Model> = {}) {
  const asked: string[] = []
  const note = <T>(what: string, answer: T): T => {
    asked.push(what)
    return answer
  }
  const model = {
    accumulate: async () => note('accumulate', { nll: 2, labelTokens: 1 }),
    optimizerStep: async () => note('update', { gradientNorm: 1, finite: true }),
    evaluate: async () => note('evaluate', { nll: Float64Array.of(1), labelTokens: Int32Array.of(1) }),
    cancel: () => note('cancel', undefined),
    memory: () => ({ residentBytes: 1, peakBytes: 1 }),
    ...of,
  } as Model
  const adapter = {
    tensors: () => note('read', []),
    optimizerState: () => ({ firstMoment: [], secondMoment: [] }),
    close: () => note('close', undefined),
  } as unknown as Adapter
  return { model, adapter, asked, note }
}

interface Change {
  readonly totalSteps?: number
  readonly batches?: readonly Batch[]
  readonly evaluation?: Plan['evaluation']
}

/** Goes on from what is sealed in the run's folder. */
async function begin(
  { model, adapter }: ReturnType<typeof engine>,
  change: Change = {},
  live = new LiveRun(),
): Promise<{ report: Promise<RunReport> }> {
  const context = { dataDir: runDirectory, log: pino({ level: 'silent' }), podName: 'pod' }
  const attempt = { runDirectory, context, live, requests: new Requests(), signal: stop.signal } as unknown as Attempt
  const { totalSteps = 4, batches = [batch], evaluation } = change
  const sealed = await findCheckpoints(runDirectory, () => {})
  const session: Session = {
    config,
    environment: {
      threads: 1,
      instructionPath: 'avx2' as const,
      oneDnnVersion: '3',
      compiler: 'gcc',
      arithmetic: 2,
      node: 'v24',
      microBatchSize: 1,
    },
    templateDate: '26 Jul 2024',
    exact: true,
    opened,
    adapterConfig: { baseModel: 'b', rank: 1, alpha: 1, dropout: 0, targetModules: ['q_proj'], rankStabilized: false },
    plan: {
      schedule: { totalSteps, stepsPerEpoch: totalSteps, warmupSteps: 0, peak: 1, shape: 'Constant' },
      batches: () => batches,
      examplesPerStep: 1,
      evaluation,
      asked: { sample: 'Denoise', samples: 0, maxTokens: 5000, trainPercent: 95 },
      questions: {
        samples: [],
        continuations: [],
        train: [],
        codec: { ...opened, dateString: '' },
        capacity: 1,
        cacheTokens: 1,
        seed: 1,
      },
      lengths: { longestSequence: 8, longestDocument: 8, shortestDocument: 8, mostDocuments: 1, mostLabels: 8 },
      data: {} as Plan['data'],
      warnings: [],
    },
    model,
    adapter,
    checkpoints: new Checkpoints(runDirectory, sealed, 3),
    resumed: await resumedState(sealed, () => {}),
    baseline: undefined,
    base: undefined,
  }
  return { report: trainSession(attempt, session) }
}
const checkpoints = () =>
  readdirSync(runDirectory)
    .filter((name) => name.startsWith('checkpoint-'))
    .sort()
const stopped = { name: 'JobFailure', reason: 'Stopped' }

test('a stop seals the last optimizer step while a micro-batch is still under way, which is cancelled and waited for', async () => {
  const running = Promise.withResolvers<never>()
  let step = 0
  const fake = engine({
    accumulate: () => {
      if (++step < 4) return Promise.resolve(fake.note('accumulate', { nll: 2, labelTokens: 1 }))
      fake.note('slow', undefined)
      queueMicrotask(() => stop.abort(new JobFailure('Stopped', 'SIGTERM')))
      return running.promise // ends when the adapter was read, not before
    },
    cancel: () => void fake.note('cancel', undefined),
  })
  const { report } = await begin(fake)
  let ended = false
  const outcome = assert.rejects(report, stopped).finally(() => {
    ended = true
  })
  while (!checkpoints().includes('checkpoint-3')) await setImmediate()
  for (let turn = 0; turn < 20; turn++) await setImmediate()
  assert.equal(ended, false, 'the engine still works')
  running.reject(new Error('CANCELLED'))
  await outcome
  assert.deepEqual(fake.asked.slice(fake.asked.indexOf('slow')), ['slow', 'cancel', 'read', 'close'])
  assert.equal((await resumedState(await findCheckpoints(runDirectory, () => {}), () => {})).step, 3)
})

test('every micro-batch and every batch of an evaluation shows that the trainer goes on', async () => {
  const live = new LiveRun()
  const seen: number[] = []
  const fake = engine({
    accumulate: async () => {
      seen.push(live.sequence)
      return { nll: 2, labelTokens: 1 }
    },
    evaluate: async () => {
      seen.push(live.sequence)
      return { nll: Float64Array.of(1), labelTokens: Int32Array.of(1) }
    },
  })
  const evaluation = { own: evaluationSet, human: undefined }
  await (await begin(fake, { totalSteps: 2, batches: [batch, batch, batch], evaluation }, live)).report
  const canary = 2 * evaluationSet.examples.length // on the base and on the adapter that is sealed
  assert.equal(seen.length, 2 * 3 + 2 + canary)
  assert.deepEqual(
    seen,
    [...new Set(seen)].sort((a, b) => a - b),
    'it grew between any two',
  )
})

test('without validation the newest checkpoint is not sealed again at a resume', async () => {
  let step = 0
  const fake = engine({
    accumulate: async () => {
      if (++step === 3) stop.abort(new JobFailure('Stopped', 'SIGTERM'))
      return { nll: 2, labelTokens: 1 }
    },
  })
  await assert.rejects((await begin(fake)).report, stopped)
  assert.deepEqual(checkpoints(), ['checkpoint-2'])
  const { ino } = statSync(join(runDirectory, 'checkpoint-2'))
  stop = new AbortController()
  await (await begin(engine())).report
  assert.deepEqual(checkpoints(), ['checkpoint-2', 'checkpoint-4'])
  assert.equal(statSync(join(runDirectory, 'checkpoint-2')).ino, ino)
})

test('an evaluation whose loss is not finite is not made again at a resume, so it counts once', async () => {
  const evaluation = { own: evaluationSet, human: undefined }
  const unmeasured = { nll: Float64Array.of(Number.NaN), labelTokens: Int32Array.of(1) }
  let step = 0
  const first = engine({
    accumulate: async () => {
      if (++step === 3) stop.abort(new JobFailure('Stopped', 'SIGTERM'))
      return { nll: 2, labelTokens: 1 }
    },
    evaluate: async () => first.note('evaluate', unmeasured),
  })
  await assert.rejects((await begin(first, { evaluation })).report, stopped)
  const { standing, evaluatedStep } = await resumedState(await findCheckpoints(runDirectory, () => {}), () => {})
  assert.deepEqual([standing.withoutImprovement, evaluatedStep], [1, 2])

  stop = new AbortController()
  const second = engine({ evaluate: async () => second.note('evaluate', unmeasured) })
  await (await begin(second, { evaluation })).report
  const batches = evaluationSet.examples.length
  const canary = 2 * batches
  const evaluations = second.asked.filter((each) => each === 'evaluate').length
  assert.equal(evaluations, batches + canary, 'only that of the last step')
  const last = await resumedState(await findCheckpoints(runDirectory, () => {}), () => {})
  assert.equal(last.standing.withoutImprovement, 2)
})
