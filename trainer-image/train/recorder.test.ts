import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pino } from 'pino'
import { Progress } from '#proto/humanizer/trainer/v1/run.ts'
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
