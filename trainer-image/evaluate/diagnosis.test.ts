import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { Settings } from './advice.ts'
import { diagnose } from './diagnosis.ts'
import type { Evidence } from './findings.ts'
import { proportion } from './proportion.ts'

type Interval = readonly [value: number, low: number, high: number]
type Figures = Readonly<Record<string, Interval>>

/** The proportion of so many yes in so many texts, with its interval. */
const of = (yes: number, texts: number): Interval => {
  const { value, interval } = proportion(Array.from({ length: texts }, (_, i) => i < yes))!
  return [value, interval!.low, interval!.high]
}
const figure = ([value, low, high]: Interval) => ({ value, low, high })

const result = (loss: number | undefined, figures: Figures = {}): EvaluationResult =>
  EvaluationResult.fromPartial({
    loss,
    metrics: Object.entries(figures).map(([name, interval]) => ({ name, ...figure(interval) })),
  })

const outputs: Figures = {
  copyRate: of(2, 20),
  repetition4: [0.02, 0, 0.04],
  lengthRatio: [1.1, 1, 1.2],
  memorised: of(0, 20),
  extracted: of(0, 20),
}
const gain: Figures = { improvement: [0.2, 0.18, 0.22] }
const good = result(1.8, { ...outputs, ...gain })
const falling = [
  { step: 10, loss: 2.1 },
  { step: 10, eval_loss: 1.9 },
  { step: 20, loss: 1.9 },
  { step: 20, eval_loss: 1.8 },
]
const healthy: Evidence = {
  history: falling,
  baseline: result(2, outputs),
  best: good,
  newest: good,
  human: result(undefined, { copyRate: of(0, 20), repetition4: [0.01, 0, 0.02] }),
  sameAsBase: figure(of(2, 20)),
  texts: { written: 20, begun: 20, heldOut: 64 },
}
const rising = [
  ...falling,
  { step: 30, loss: 1.2 },
  { step: 30, eval_loss: 1.95 },
  { step: 40, loss: 0.7 },
  { step: 40, eval_loss: 2.3 },
]
const risen = result(2.3, { ...outputs, improvement: [-0.3, -0.36, -0.24] })

const settings: Settings = {
  sample: 'Denoise',
  epochs: 2,
  maxSteps: 0,
  stepsPerEpoch: 20,
  rank: 32,
  dropout: 0.05,
  learningRate: 1.5e-4,
  patience: 3,
  trainExamples: 480,
  trainPercent: 95,
  samples: 20,
  maxExamples: 64,
  maxTokens: 5000,
  best: 20,
  newest: 40,
}

interface Case {
  a_run: string
  given: Partial<Evidence>
  set?: Partial<Settings>
  verdict: string
  says: RegExp
  advises?: readonly string[]
}

const cases: Case[] = [
  {
    a_run: 'that learnt',
    given: {},
    verdict: 'Healthy',
    says: /fell by 0\.2000 nats per token \(95 % interval 0\.1800 to 0\.2200\).*of 20 outputs 0 % \(95 % interval 0 to 16 %\) hold a passage/,
    advises: [],
  },
  {
    a_run: 'whose held-out loss rises while training loss falls',
    given: { history: rising, newest: risen },
    verdict: 'Overfitting',
    says: /rose from 1\.8000 at step 20 to 2\.3000 at step 40, while the training loss fell from 2\.0000 .* 0\.9500/,
    advises: [
      'release checkpoint-20, the best, not checkpoint-40',
      'lower training.epochs from 2 to 1',
      'raise lora.dropout from 0.05 to 0.1',
      'add text from more and other sources (now 480 examples)',
    ],
  },
  {
    a_run: 'whose held-out loss rises by less than the texts differ',
    given: { history: rising, newest: result(2.3, { ...outputs, improvement: [0.1, -0.1, 0.3] }) },
    verdict: 'Unknown',
    says: /rose from 1\.8000 .*; it rose by 0\.1000 nats per token \(95 % interval -0\.1010 to 0\.3010\); 260 held-out texts would tell/,
    advises: ['raise evaluation.maxExamples from 64 to 260'],
  },
  {
    a_run: 'with steps in place of epochs and no early stopping',
    given: { history: rising, newest: risen },
    set: { maxSteps: 40, patience: 0, dropout: 0.2 },
    verdict: 'Overfitting',
    says: /rose/,
    advises: [
      'release checkpoint-20, the best, not checkpoint-40',
      'lower training.maxSteps from 40 to 20',
      'raise earlyStopping.patience from 0 to 3',
      'add text from more and other sources (now 480 examples)',
    ],
  },
  {
    a_run: 'whose outputs repeat themselves more than people and the base do',
    given: { newest: result(1.8, { ...outputs, repetition4: [0.2, 0.12, 0.3] }) },
    verdict: 'Overfitting',
    says: /20 % \(95 % interval 12 to 30 %\) of the 4-grams .* \(base 2 %, human 1 %\)/,
  },
  {
    a_run: 'whose outputs may repeat themselves more',
    given: { newest: result(1.8, { ...outputs, repetition4: [0.08, 0.01, 0.16] }) },
    verdict: 'Unknown',
    says: /8 % .* of the 4-grams .*; 250 texts would tell\nthe loss itself is sound/s,
    advises: ['raise evaluation.samples from 20 to 250'],
  },
  {
    a_run: 'that writes much more than it was given',
    given: { newest: result(1.8, { ...outputs, lengthRatio: [2.5, 2.2, 2.9] }) },
    verdict: 'Overfitting',
    says: /2\.50 words for one of the input \(95 % interval 2\.20 to 2\.90\); the base 1\.10/,
  },
  {
    a_run: 'that has training texts by heart',
    given: { newest: result(1.8, { ...outputs, memorised: of(2, 20), extracted: of(10, 20) }) },
    verdict: 'Overfitting',
    says: /10 % .* share 50 tokens .*50 % .* of the training texts come out/s,
  },
  {
    a_run: 'whose improvement may be none',
    given: { best: result(1.99, { ...outputs, improvement: [0.01, -0.02, 0.04] }) },
    verdict: 'Unknown',
    says: /perhaps no real gain over the baseline: held-out loss fell by 0\.0100 .*; 580 held-out texts would tell/,
    advises: ['raise evaluation.maxExamples from 64 to 580'],
  },
  {
    a_run: 'whose improvement is surely next to nothing',
    given: { best: result(1.99, { ...outputs, improvement: [0.005, 0.001, 0.009] }) },
    verdict: 'Underfitting',
    says: /^no real gain over the baseline: held-out loss fell by 0\.0050/,
    advises: [
      'raise training.epochs from 2 to 3',
      'raise lora.rank from 32 to 64',
      'raise training.learningRate from 0.00015 to 0.0002',
      'add more training text (now 480 examples)',
    ],
  },
  {
    a_run: 'that has every documented setting already and got worse',
    given: { best: result(2.1, { ...outputs, improvement: [-0.1, -0.12, -0.08] }) },
    set: { maxSteps: 24, stepsPerEpoch: 240, rank: 64, learningRate: 5e-4 },
    verdict: 'Underfitting',
    says: /rose by 0\.1000 nats per token \(95 % interval 0\.0800 to 0\.1200\) from 2\.0000/,
    advises: [
      'raise training.maxSteps from 24 to 240, one pass over the data',
      'add more training text (now 480 examples)',
    ],
  },
  {
    a_run: 'that writes what the base writes, all 16 times',
    given: { sameAsBase: figure(of(16, 16)), texts: { written: 16, begun: 16, heldOut: 64 } },
    verdict: 'Underfitting',
    says: /100 % \(95 % interval 81 to 100 %\) of the best checkpoint's outputs are those of the base/,
  },
  {
    a_run: 'that gives back its inputs, though its loss fell',
    given: { best: result(0.1, { ...outputs, copyRate: of(18, 20), improvement: [0.5, 0.4, 0.6] }) },
    set: { sample: 'Identity' },
    verdict: 'CopyCollapse',
    says: /90 % \(95 % interval 70 to 97 %\) of the best checkpoint's outputs are nearly equal to their input \(base 10 %, human 0 %/,
    advises: [
      'set format.sample of the dataset from Identity to Denoise or Paired: with Identity copying is the optimum',
      'let releases ask for it: a gate {metric: copyRate, max: "0.5"} keeps such a checkpoint from serving',
    ],
  },
  {
    a_run: 'on Denoise that gives back its inputs',
    given: { best: result(1.7, { ...outputs, ...gain, copyRate: of(18, 20) }) },
    verdict: 'CopyCollapse',
    says: /nearly equal to their input/,
    advises: [
      'Denoise does not reward copying: the run learnt too little to leave its inputs',
      'raise training.epochs from 2 to 3',
      'raise lora.rank from 32 to 64',
      'raise training.learningRate from 0.00015 to 0.0002',
      'add more training text (now 480 examples)',
      'let releases ask for it: a gate {metric: copyRate, max: "0.5"} keeps such a checkpoint from serving',
    ],
  },
  {
    a_run: 'of which 9 in 20 outputs are copies',
    given: { best: result(1.8, { ...outputs, ...gain, copyRate: of(9, 20) }) },
    verdict: 'Unknown',
    says: /45 % \(95 % interval 26 to 66 %\) .* nearly equal to their input/,
  },
  {
    a_run: 'like the demo, whose two samples are one copy and one not, on Denoise',
    given: {
      best: result(1.8, { ...outputs, ...gain, copyRate: of(1, 2), memorised: of(0, 2) }),
      newest: result(1.8, { ...outputs, ...gain, copyRate: of(1, 2), repetition4: [0.3, 0.3, 0.3] }),
      sameAsBase: figure(of(2, 2)),
      texts: { written: 2, begun: 2, heldOut: 16 },
    },
    set: { samples: 2, maxExamples: 16, maxSteps: 24 },
    verdict: 'Unknown',
    says: /^2 texts are too few to tell what the outputs are like; 16 texts would tell\n(?!.*copies)/,
    advises: ['raise evaluation.samples from 2 to 16'],
  },
  {
    a_run: 'with two samples that are both copies',
    given: {
      best: result(1.8, { ...outputs, ...gain, copyRate: of(2, 2) }),
      texts: { written: 2, begun: 2, heldOut: 16 },
    },
    set: { samples: 2 },
    verdict: 'Unknown',
    says: /too few.*100 % \(95 % interval 34 to 100 %\) of the best checkpoint's outputs/s,
    advises: ['raise evaluation.samples from 2 to 16'],
  },
  {
    a_run: 'whose dataset holds out fewer texts than were asked for',
    given: {
      best: result(1.99, { ...outputs, improvement: [0.01, -0.02, 0.04] }),
      texts: { written: 4, begun: 20, heldOut: 4 },
    },
    verdict: 'Unknown',
    says: /^4 texts are too few/,
    advises: [
      'lower split.trainPercent of the dataset from 95 to 90: only 4 held-out texts could be written for',
      'raise evaluation.maxTokens from 5000 to 45000, or hold out more text',
    ],
  },
  {
    a_run: 'as repetitive and verbose as its base',
    given: {
      baseline: result(2, { ...outputs, repetition4: [0.99, 0.98, 1], lengthRatio: [4, 2, 6] }),
      newest: result(1.8, { ...outputs, ...gain, repetition4: [0.99, 0.98, 1], lengthRatio: [4, 2, 6] }),
    },
    verdict: 'Healthy',
    says: /fell by/,
  },
  {
    a_run: 'without a baseline',
    given: { baseline: undefined },
    verdict: 'Unknown',
    says: /held-out loss of the base or of the best checkpoint was not measured/,
    advises: [],
  },
  {
    a_run: 'whose outputs nobody measured',
    given: {
      sameAsBase: undefined,
      best: result(1.8, gain),
      newest: result(1.8, gain),
      texts: { written: 0, begun: 0, heldOut: 64 },
    },
    set: { samples: 0 },
    verdict: 'Unknown',
    says: /no outputs were measured/,
    advises: ['raise evaluation.samples from 0 to 16'],
  },
]
for (const { a_run, given, set, verdict, says, advises } of cases)
  test(`a run ${a_run} is ${verdict}`, () => {
    const diagnosis = diagnose({ ...healthy, ...given }, { ...settings, ...set })
    assert.equal(diagnosis.verdict, verdict)
    assert.match(diagnosis.findings.map(({ evidence }) => evidence).join('\n'), says)
    if (advises) assert.deepEqual(diagnosis.advice, advises)
  })

test('a failure that is shown stands before what is left open, which stays told', () => {
  const best = result(1.8, { ...outputs, ...gain, copyRate: of(20, 20) })
  const newest = result(1.8, { ...outputs, ...gain, repetition4: [0.08, 0.01, 0.16] })
  const { verdict, findings, advice } = diagnose({ ...healthy, best, newest }, settings)
  assert.deepEqual([verdict, findings.map((each) => each.verdict)], ['CopyCollapse', ['CopyCollapse', 'Unknown']])
  assert.equal(advice.at(-1), 'raise evaluation.samples from 20 to 250')
})

test('a rise of the held-out loss while training loss rises too is no overfitting', () => {
  const both = rising.map((entry) => (entry.step > 20 && 'loss' in entry ? { ...entry, loss: 3 } : entry))
  assert.equal(diagnose({ ...healthy, history: both, newest: risen }, settings).verdict, 'Healthy')
})

test('with Identity the loss of human text decides', () => {
  const history = rising.map((entry) => ('eval_loss' in entry ? { ...entry, eval_human_loss: 2 } : entry))
  assert.equal(diagnose({ ...healthy, history }, settings).verdict, 'Healthy')
  const human: Figures = { humanImprovement: [-0.1, -0.2, 0] }
  const best = result(0.1, { ...outputs, improvement: [0.5, 0.4, 0.6], ...human })
  assert.equal(diagnose({ ...healthy, best }, settings).verdict, 'Underfitting')
})
