import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { EvaluationResult, Progress } from '#proto/humanizer/trainer/v1/run.ts'
import type { GpuReadings } from '../native/index.ts'
import { LiveRun } from './live-run.ts'
import { Recorder } from './recorder.ts'

/** Records five steps, every second one logged, beside a GPU that tells this. */
async function record(gpu: () => GpuReadings | undefined) {
  const live = new LiveRun()
  const lines: { step: number; gpu?: object }[] = []
  const scalars: { step: number; gpu: object }[] = []
  const progress: object[] = []
  const recorder = new Recorder({
    live,
    log: pino({ base: null }, { write: (line) => lines.push(JSON.parse(line)) }),
    scalars: {
      async write(step, all) {
        const told = Object.entries(all).filter(([tag, value]) => tag.startsWith('gpu/') && value !== undefined)
        scalars.push({ step, gpu: Object.fromEntries(told) })
      },
    },
    schedule: { totalSteps: 5, stepsPerEpoch: 5, warmupSteps: 0, peak: 1, shape: 'Constant' },
    logEvery: 2,
    from: { step: 0, evaluatedStep: undefined, history: [], tokensSeen: 0 },
    peakMemoryBytes: () => 1,
    gpu,
    now: () => 0,
  })
  for (let step = 1; step <= 5; step++) {
    const fact = { step, loss: 2, learningRate: 1, gradientNorm: 1, tokens: 8, labelTokens: 8, finite: true }
    await recorder.step({ kind: 'step', ...fact, nonFinite: undefined })
    progress.push(Progress.toJSON(live.report.progress!) as object)
  }
  return { lines: lines.map(({ step, gpu }) => ({ step, gpu })), scalars, progress: progress as { gpu?: object }[] }
}

test('the GPU is asked once for each log line, which has its figures; so have TensorBoard, and progress from then on', async () => {
  let asked = 0
  const { lines, scalars, progress } = await record(() => {
    asked += 1
    return { utilizationPercent: 90 + asked, memoryUsedBytes: 5e9, memoryTotalBytes: 80e9, powerWatts: 312.5 }
  })
  assert.equal(asked, 3)
  const figures = (utilizationPercent: number) => ({
    utilizationPercent,
    memoryUsedBytes: 5e9,
    memoryTotalBytes: 80e9,
    powerWatts: 312.5,
  })
  assert.deepEqual(lines, [
    { step: 2, gpu: figures(91) },
    { step: 4, gpu: figures(92) },
    { step: 5, gpu: figures(93) },
  ])
  const tags = (percent: number) => ({
    'gpu/utilization_percent': percent,
    'gpu/memory_used_bytes': 5e9,
    'gpu/power_watts': 312.5,
  })
  assert.deepEqual(scalars, [
    { step: 2, gpu: tags(91) },
    { step: 4, gpu: tags(92) },
    { step: 5, gpu: tags(93) },
  ])
  assert.deepEqual(
    progress.map(({ gpu }) => gpu),
    [undefined, figures(91), figures(91), figures(92), figures(93)],
  )
})

test('why a figure is missing stands in the log alone; without a GPU nothing tells of one', async () => {
  const problem = 'nvmlDeviceGetPowerUsage: Not Supported'
  const partly = await record(() => ({ temperatureCelsius: 64, problem }))
  assert.deepEqual(partly.lines[0], { step: 2, gpu: { temperatureCelsius: 64, problem } })
  assert.deepEqual(partly.scalars[0], { step: 2, gpu: { 'gpu/temperature_celsius': 64 } })
  assert.deepEqual(partly.progress[4]?.gpu, { temperatureCelsius: 64 })

  const none = await record(() => undefined)
  assert.deepEqual(none.lines[0], { step: 2, gpu: undefined })
  assert.deepEqual(none.scalars[0], { step: 2, gpu: {} })
  assert.ok(none.progress.every((each) => !('gpu' in each)))
})

test('losses, speeds and the time that is left are those of the steps, without what lay between them', async () => {
  let clock = 0
  const live = new LiveRun()
  const written: [number, Record<string, number | undefined>][] = []
  const recorder = new Recorder({
    live,
    log: pino({ level: 'silent' }),
    scalars: { write: async (step, all) => void written.push([step, all as Record<string, number>]) },
    schedule: { totalSteps: 8, stepsPerEpoch: 4, warmupSteps: 0, peak: 1, shape: 'Constant' },
    logEvery: 3,
    from: { step: 2, evaluatedStep: undefined, history: [{ step: 2, epoch: 0.5, loss: 9 }], tokensSeen: 100 },
    peakMemoryBytes: () => 7,
    gpu: () => undefined,
    now: () => clock,
  })
  const made = async (step: number, seconds: number, loss: number, labelTokens: number, tokens = 10) => {
    clock += 1000 * seconds
    const fact = { step, loss, learningRate: 0.1, gradientNorm: 0.5, tokens, labelTokens, finite: true }
    await recorder.step({ kind: 'step', ...fact, nonFinite: undefined })
    return live.report.progress!
  }
  const third = await made(3, 2, 4, 8)
  assert.deepEqual(
    [third.step, third.totalSteps, third.epoch, third.trainLoss, third.tokensPerSecond, third.remainingSeconds],
    [3, 8, 0.75, 4, 5, 10],
  )
  await made(4, 1, 1, 1, 20)
  clock += 5000 // an evaluation
  const result = EvaluationResult.fromPartial({ step: 4, loss: 3, humanLoss: 2 })
  await recorder.evaluation(4, result)
  assert.equal(live.report.progress?.evalLoss, 3)
  const fifth = await made(5, 1, 3, 2, 20)
  // Nine seconds for three steps, and three are left; the evaluation belongs to the run, not to a step's speed.
  assert.deepEqual([fifth.remainingSeconds, fifth.tokensPerSecond, fifth.evalLoss], [9, 20, 3])
  clock += 60_000 // a checkpoint
  recorder.resumeClock()
  const sixth = await made(6, 4, 2, 1, 40)
  assert.deepEqual([sixth.tokensPerSecond, sixth.remainingSeconds], [10, 37])

  const trained = (step: number) => written.find(([at, all]) => at === step && 'train/loss' in all)?.[1]
  assert.deepEqual([trained(3)?.['train/loss'], trained(3)?.['train/tokens_per_second']], [4, 5])
  // By label token, since the last line: (1 * 1 + 3 * 2 + 2 * 1) / 4; eighty tokens in six seconds of steps.
  assert.deepEqual([trained(6)?.['train/loss'], trained(6)?.['train/tokens_per_second']], [2.25, 80 / 6])
  assert.deepEqual(recorder.history, [
    { step: 2, epoch: 0.5, loss: 9 },
    { step: 3, epoch: 0.75, loss: 4, grad_norm: 0.5, learning_rate: 0.1 },
    { step: 4, epoch: 1, eval_loss: 3, eval_human_loss: 2 },
    { step: 6, epoch: 1.5, loss: 2.25, grad_norm: 0.5, learning_rate: 0.1 },
  ])
  assert.deepEqual([recorder.tokensSeen, recorder.evaluatedStep, recorder.evaluationAt(4)], [190, 4, result])
  await recorder.evaluation(7, EvaluationResult.fromPartial({ step: 7 }))
  assert.deepEqual(recorder.history.at(-1), { step: 7, epoch: 1.75 })
})

test('a loss that is no number is absent from progress, and the line after it is of its own steps', async () => {
  const live = new LiveRun()
  const lines: { step?: number; loss?: number | null; in?: string; reason?: string }[] = []
  const recorder = new Recorder({
    live,
    log: pino({ base: null }, { write: (line) => lines.push(JSON.parse(line)) }),
    scalars: { write: async () => {} },
    schedule: { totalSteps: 9, stepsPerEpoch: 9, warmupSteps: 0, peak: 1, shape: 'Constant' },
    logEvery: 1,
    from: { step: 0, evaluatedStep: undefined, history: [], tokensSeen: 0 },
    peakMemoryBytes: () => 1,
    gpu: () => undefined,
    now: () => 0,
  })
  const fact = { kind: 'step', learningRate: 1, tokens: 8, labelTokens: 8 } as const
  await recorder.step({
    ...{ ...fact, step: 1, loss: Number.NaN, gradientNorm: Number.NaN },
    ...{ finite: false, nonFinite: 'layer 3' },
  })
  assert.deepEqual([live.report.progress?.trainLoss, live.report.progress?.gradientNorm], [undefined, undefined])
  assert.deepEqual(
    lines.map(({ step, in: where }) => [step, where]),
    [
      [1, 'layer 3'],
      [1, undefined],
    ],
  )
  const notKept = 'cudaGraphInstantiate: cudaErrorMemoryAllocation'
  await recorder.step({ ...fact, step: 2, loss: 2, gradientNorm: 1, finite: true, nonFinite: undefined, notKept })
  assert.deepEqual([lines.at(-2)?.step, lines.at(-2)?.reason], [2, notKept])
  assert.deepEqual([live.report.progress?.trainLoss, lines.at(-1)?.loss], [2, 2])
})
