/** Runs made to fail each way: the tiny model on data and settings that cannot end otherwise. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import type { Evaluation, Lora, Training } from '#proto/humanizer/trainer/v1/run.ts'
import type { DatasetOptions } from '../fixtures/dataset.ts'
import { type Claim, makeClaim, runToEnd } from './training-pod.ts'

const claims: Claim[] = []
after(() => {
  for (const claim of claims) claim.remove()
})

const oneText = 'The old ferryman waited for the last train, and nobody asked why.'
const otherTexts = [
  'Anna carried 7 spoons over Bridge 12!',
  'Why did Peter sell both maps?',
  'WARM BREAD: 3.50 each',
  'Clara hums.',
  'Two boats, one oar; no wind.',
  'Left at the mill, then 4 miles.',
  'Mother said: "Never on a Friday."',
  'Green doors open inwards here.',
  'He paid in salt (and lied).',
  'Snow fell on the 3rd of June.',
]

const cases: {
  a_run: string
  verdict: string
  says: RegExp
  dataset?: DatasetOptions
  lora?: Partial<Lora>
  training: Partial<Training>
  evaluation?: Partial<Evaluation>
}[] = [
  {
    a_run: 'that learns nothing at a rate of almost zero',
    verdict: 'Underfitting',
    says: /no real gain over the baseline.*100 % \(95 % interval .*\) of the best checkpoint's outputs are those of the base/s,
    training: { learningRate: 1e-9, maxSteps: 4 },
  },
  {
    a_run: 'that learns one text by heart and is asked for others',
    verdict: 'Overfitting',
    says: /held-out loss rose from .* while the training loss fell/,
    dataset: {
      texts: otherTexts.flatMap((text) => [text, ...Array.from({ length: 5 }, () => oneText)]),
      validationEvery: 6,
    },
    lora: { rank: 16, alpha: 32, dropout: 0 },
    training: { learningRate: 3e-2, learningRateSchedule: 'Constant', maxSteps: 40 },
    evaluation: { everySteps: 4, maxExamples: 16, maxTokens: 800 },
  },
  {
    a_run: 'whose every text is the same, so that giving back the input is all there is to learn',
    verdict: 'CopyCollapse',
    says: /100 % \(95 % interval .*\) of the best checkpoint's outputs are nearly equal to their input/,
    dataset: { sample: 'Identity', texts: Array.from({ length: 36 }, () => oneText), validationEvery: 4 },
    training: { learningRate: 1e-2, maxSteps: 60 },
    evaluation: { everySteps: 30 },
  },
]
for (const { a_run, verdict, says, dataset, lora, training, evaluation } of cases)
  test(`a run ${a_run} is told as ${verdict}`, async (t) => {
    const claim = await makeClaim(
      (config) => ({
        ...config,
        lora: { ...config.lora!, ...lora },
        training: { ...config.training!, ...training },
        evaluation: { ...config.evaluation!, samples: 16, ...evaluation },
        checkpoints: { everySteps: 0, keep: 1 },
      }),
      dataset && { dataset },
    )
    claims.push(claim)
    const { diagnosis } = await runToEnd(claim, claim.config, 'pod-made-to-fail')
    t.diagnostic(JSON.stringify(diagnosis))
    assert.equal(diagnosis?.verdict, verdict)
    assert.match(diagnosis.findings.map(({ evidence }) => evidence).join('\n'), says)
    assert.ok(diagnosis.advice.length > 0)
  })
