import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { diagnose, type Evidence } from './diagnosis.ts'

type Figures = Readonly<Record<string, number | readonly [value: number, low: number, high: number]>>

const result = (loss: number | undefined, figures: Figures = {}): EvaluationResult =>
  EvaluationResult.fromPartial({
    loss,
    metrics: Object.entries(figures).map(([name, figure]) => {
      const [value, low, high] = typeof figure === 'number' ? [figure] : figure
      return { name, value: value!, low, high }
    }),
  })

const outputs = { copyRate: 0.1, repetition4: 0.02, lengthRatio: 1.1, memorised: 0, extracted: 0 }
const good = result(1.8, { ...outputs, improvement: [0.2, 0.18, 0.22] })
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
  human: result(undefined, { copyRate: 0, repetition4: 0.01 }),
  sameAsBase: 0.1,
}
const rising = [
  ...falling,
  { step: 30, loss: 1.2 },
  { step: 30, eval_loss: 1.95 },
  { step: 40, loss: 0.7 },
  { step: 40, eval_loss: 2.3 },
]

const cases: { a_run: string; given: Partial<Evidence>; verdict: string; says: RegExp; advises?: RegExp }[] = [
  {
    a_run: 'that learnt',
    given: {},
    verdict: 'Healthy',
    says: /fell by 0\.2000 nats per token \(95 % interval 0\.1800/,
  },
  {
    a_run: 'whose held-out loss rises while training loss falls',
    given: { history: rising },
    verdict: 'Overfitting',
    says: /rose from 1\.8000 at step 20 to 2\.3000 at step 40, while the training loss fell from 2\.0000 .* 0\.9500/,
    advises: /epochs/,
  },
  {
    a_run: 'whose outputs repeat themselves more than people and the base do',
    given: { newest: result(1.8, { ...outputs, repetition4: 0.2 }) },
    verdict: 'Overfitting',
    says: /20 % of the 4-grams .* \(base 2 %, human 1 %\)/,
  },
  {
    a_run: 'that writes much more than it was given',
    given: { newest: result(1.8, { ...outputs, lengthRatio: 2.5 }) },
    verdict: 'Overfitting',
    says: /2\.50 words for one of the input \(base 1\.10\)/,
  },
  {
    a_run: 'that has training texts by heart',
    given: { newest: result(1.8, { ...outputs, memorised: 0.1, extracted: 0.5 }) },
    verdict: 'Overfitting',
    says: /10 % of .* share 50 tokens .*50 % of the training texts come out/s,
  },
  {
    a_run: 'whose interval of the improvement holds zero',
    given: { best: result(1.99, { ...outputs, improvement: [0.01, -0.02, 0.04] }) },
    verdict: 'Underfitting',
    says: /no real gain over the baseline: held-out loss fell by 0\.0100/,
    advises: /rank to 64/,
  },
  {
    a_run: 'that writes what the base writes',
    given: { sameAsBase: 0.95 },
    verdict: 'Underfitting',
    says: /95 % of the best checkpoint's outputs are those of the base/,
  },
  {
    a_run: 'that gives back its inputs, though its loss fell',
    given: { best: result(0.1, { ...outputs, copyRate: 0.9, improvement: [0.5, 0.4, 0.6] }) },
    verdict: 'CopyCollapse',
    says: /90 % of the outputs are nearly equal to their input \(base 10 %, human 0 %/,
    advises: /Denoise or Paired/,
  },
  {
    a_run: 'without a baseline',
    given: { baseline: undefined },
    verdict: 'Unknown',
    says: /held-out loss of the base or of the best checkpoint was not measured/,
  },
  {
    a_run: 'whose outputs nobody measured',
    given: { sameAsBase: undefined, best: result(1.8, { improvement: [0.2, 0.18, 0.22] }) },
    verdict: 'Unknown',
    says: /no outputs were measured/,
  },
]
for (const { a_run, given, verdict, says, advises } of cases)
  test(`a run ${a_run} is ${verdict}`, () => {
    const diagnosis = diagnose({ ...healthy, ...given })
    assert.equal(diagnosis.verdict, verdict)
    assert.match(diagnosis.findings.map(({ evidence }) => evidence).join('\n'), says)
    if (advises) assert.match(diagnosis.advice.join('\n'), advises)
  })

test('a rise of the held-out loss while training loss rises too is no overfitting', () => {
  const both = rising.map((entry) => (entry.step > 20 && 'loss' in entry ? { ...entry, loss: 3 } : entry))
  assert.equal(diagnose({ ...healthy, history: both }).verdict, 'Healthy')
})

test('with Identity the loss of human text decides', () => {
  const history = rising.map((entry) => ('eval_loss' in entry ? { ...entry, eval_human_loss: 2 } : entry))
  assert.equal(diagnose({ ...healthy, history }).verdict, 'Healthy')
  const best = result(0.1, { ...outputs, improvement: [0.5, 0.4, 0.6], humanImprovement: [-0.1, -0.2, 0] })
  assert.equal(diagnose({ ...healthy, best }).verdict, 'Underfitting')
})
