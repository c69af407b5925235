/** Runs made to fail each way: the tiny model on data and settings that cannot end otherwise. None of their adapters passes a gate for it. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Evaluation, Lora, RunReport, Training } from '#proto/humanizer/trainer/v1/run.ts'
import type { AdapterReleaseSpec } from '../../operator/api/generated/adapterrelease.ts'
import { release, run as releasedRun } from '../../operator/release/objects.ts'
import { World } from '../../operator/release/world.ts'
import { reported } from '../../operator/run/report.ts'
import { run as trainedRun } from '../../operator/run/world.ts'
import type { DatasetOptions } from '../fixtures/dataset.ts'
import { prose } from '../fixtures/sources.ts'
import { type Claim, makeClaim, runToEnd } from './training-pod.ts'

// At such rates a run hangs on the last bit of every sum: the same instructions on every processor.
Object.assign(process.env, { HUMANIZER_ISA: 'baseline', ONEDNN_MAX_CPU_ISA: 'SSE41' })

const claims: Claim[] = []
after(() => {
  for (const claim of claims) claim.remove()
})

const oneText = 'The old ferryman waited for the last train, and nobody asked why.'
const otherTexts = prose.slice(0, 40).map((text) => text.split(' ').slice(0, 12).join(' '))

type Gate = Omit<NonNullable<AdapterReleaseSpec['gates']>[number], 'enforcement'>

/** A release that is asked to serve a checkpoint of this run, on what its trainer reported. */
async function released(
  report: RunReport,
  checkpoint: string,
  gates: Gate[],
  serves: string | undefined,
): Promise<World> {
  const source = (word: string) => ({ source: { run: { name: 'prose', checkpoint: word } } })
  const ended = releasedRun({ checkpoints: [] })
  const known = { ...ended.status, checkpoints: [], baseline: undefined } as never
  const status = reported(trainedRun(), known, report, new Date(), 'always')
  const world = new World(release(source(serves ?? checkpoint)))
  world.runs = [{ ...ended, status }]
  if (serves) {
    await world.settle()
    assert.equal(world.ready(), 'True/Serving')
  }
  world.edit({ ...source(checkpoint), gates: gates.map((gate) => ({ ...gate, enforcement: 'Enforce' })) })
  await world.settle()
  return world
}

/** A release of one of its adapters. */
interface Stop {
  adapter: string
  /** What serves when it is to be released; nothing when absent. */
  serves?: 'Best'
  checkpoint: 'Best' | 'Latest'
  gates: Gate[]
  /** What the gates say, a line each. */
  says: RegExp
}

const cases: {
  a_run: string
  verdict: string
  says: RegExp
  dataset?: DatasetOptions
  lora?: Partial<Lora>
  training: Partial<Training>
  evaluation?: Partial<Evaluation>
  stops: Stop[]
}[] = [
  {
    a_run: 'that learns nothing at a rate of almost zero',
    verdict: 'Underfitting',
    says: /no real gain over the baseline.*100 % \(95 % interval .*\) of the best checkpoint's outputs are those of the base/s,
    training: { learningRate: 1e-9, maxSteps: 4 },
    stops: [
      {
        adapter: 'untrained',
        checkpoint: 'Best',
        gates: [{ metric: 'evalLoss', maxRegression: '-0.01', against: 'Baseline' }],
        says: /^evalLoss ([\d.]+) of prose\/checkpoint-4, expected at most Baseline \1 \+ -0\.01$/,
      },
    ],
  },
  {
    a_run: 'that learns one text by heart and is asked for others',
    verdict: 'Overfitting',
    says: /held-out loss rose from .* while the training loss fell/,
    dataset: {
      texts: otherTexts.flatMap((text) => [text, oneText]),
      validationEvery: 2,
    },
    lora: { rank: 16, alpha: 32, dropout: 0 },
    training: { learningRate: 3e-2, learningRateSchedule: 'Constant', maxSteps: 40 },
    evaluation: { everySteps: 4, maxExamples: otherTexts.length, maxTokens: 4000 },
    stops: [
      {
        adapter: 'regressing',
        serves: 'Best',
        checkpoint: 'Latest',
        gates: [{ metric: 'evalLoss', maxRegression: '0', against: 'Active' }],
        says: /^evalLoss [\d.]+ of prose\/checkpoint-40, expected at most Active [\d.]+ \+ 0; worse by 0\.\d+ \(0\.\d+ to /,
      },
      {
        adapter: 'over-fitted',
        checkpoint: 'Latest',
        gates: [{ metric: 'improvement', min: '0.1' }],
        says: /^improvement -?0\.\d+ \(-?0\.\d+ to -?0\.\d+\) of prose\/checkpoint-40, expected at least 0\.1$/,
      },
    ],
  },
  {
    a_run: 'whose every text is the same, so that giving back the input is all there is to learn',
    verdict: 'CopyCollapse',
    says: /100 % \(95 % interval .*\) of the best checkpoint's outputs are nearly equal to their input/,
    dataset: { sample: 'Identity', texts: Array.from({ length: 36 }, () => oneText), validationEvery: 4 },
    training: { learningRate: 1e-2, maxSteps: 60 },
    evaluation: { everySteps: 30 },
    stops: [
      {
        adapter: 'copying',
        checkpoint: 'Best',
        gates: [
          { metric: 'copyRate', max: '0.5' },
          { metric: 'extracted', max: '0.5' },
        ],
        says: /^copyRate 1 \(0\.\d+ to 1\) of prose\/checkpoint-60, expected at most 0\.5\nextracted 1 \(0\.\d+ to 1\) of .*, expected at most 0\.5$/,
      },
    ],
  },
]
for (const { a_run, verdict, says, dataset, lora, training, evaluation, stops } of cases)
  test(`a run ${a_run} is told as ${verdict}, and its adapter stops at the gate: ${stops.map(({ adapter }) => adapter)}`, async (t) => {
    const claim = await makeClaim(
      (config) => ({
        ...config,
        quantization: { ...config.quantization!, computeDtype: 'Float32' },
        lora: { ...config.lora!, ...lora },
        training: { ...config.training!, ...training },
        evaluation: { ...config.evaluation!, samples: 16, ...evaluation },
        checkpoints: { everySteps: 0, keep: 1 },
      }),
      dataset && { dataset },
    )
    claims.push(claim)
    const report = await runToEnd(claim, claim.config, 'pod-made-to-fail')
    const { diagnosis } = report
    t.diagnostic(JSON.stringify(diagnosis))
    assert.equal(diagnosis?.verdict, verdict)
    assert.match(diagnosis.findings.map(({ evidence }) => evidence).join('\n'), says)
    assert.ok(diagnosis.advice.length > 0)
    for (const { adapter, serves, checkpoint, gates, says: stopped } of stops) {
      const world = await released(report, checkpoint, gates, serves)
      const { verdict: refusal, active } = world.object.status ?? {}
      assert.equal(world.ready(), 'False/GateFailed', adapter)
      assert.match(refusal?.gates?.map(({ message }) => message).join('\n') ?? '', stopped)
      assert.equal(active?.digest, serves && report.checkpoints.find(({ best }) => best)?.digest)
      assert.deepEqual([...new Set(world.pods.map(({ state }) => state.digest))], active ? [active.digest] : [])
    }
  })
