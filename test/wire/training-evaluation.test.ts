import assert from 'node:assert/strict'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { EvaluationResult, type Metric, type RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import { metricKinds } from '../../trainer-image/evaluate/metrics.ts'
import { openPage } from '../fixtures/browser.ts'
import { type Claim, logs, makeClaim, reaches, runToEnd, startPod, stepsOf } from './training-pod.ts'

const claims: Claim[] = []
const machineTexts = [
  'Moreover, the harbour offers a multitude of experiences.',
  'In conclusion, the baker delves into dough.',
]
async function claimOf(): Promise<Claim> {
  const claim = await makeClaim(
    (config) => ({
      ...config,
      evaluation: { ...config.evaluation!, samples: 4 },
      checkpoints: { everySteps: 0, keep: 1 },
    }),
    { dataset: { machineTexts } },
  )
  claims.push(claim)
  return claim
}
after(() => {
  for (const claim of claims) claim.remove()
})

let whole: Claim
let report: RunReport
before(async () => {
  whole = await claimOf()
  report = await runToEnd(whole, whole.config, 'pod-whole')
})

const figureOf = (result: EvaluationResult | undefined, name: string): number =>
  (result?.metrics ?? []).find((metric) => metric.name === name)?.value ?? Number.NaN
const metricsOf = ({ baseline, checkpoints }: RunReport): (readonly Metric[] | undefined)[] =>
  [baseline, ...checkpoints.map(({ evaluation }) => evaluation)].map((result) => result?.metrics)

test('base and best checkpoint are measured by what they write, with intervals, under known names', () => {
  const best = report.checkpoints.find(({ best }) => best)
  for (const result of [report.baseline, best?.evaluation]) {
    assert.ok(figureOf(result, 'distinct2') > 0, JSON.stringify(result?.metrics))
    assert.ok(figureOf(result, 'lengthRatio') > 0)
    assert.equal(figureOf(result, 'copyRate'), 0)
    assert.ok(Number.isFinite(figureOf(result, 'curvature')))
    for (const { name, low, high } of result!.metrics) {
      assert.ok(Object.hasOwn(metricKinds, name), name)
      assert.ok(low === undefined || low <= high!, name)
    }
  }
  assert.ok(figureOf(best?.evaluation, 'improvement') > 0.5)
  assert.ok(
    figureOf(best?.evaluation, 'wordOverlap') > figureOf(report.baseline, 'wordOverlap'),
    'an adapter that learnt the texts says more of them than noise does',
  )
})

test('the manifest of the best checkpoint holds what was reported, and its seal is whole', () => {
  const best = report.checkpoints.find(({ best }) => best)!
  const manifest = JSON.parse(readFileSync(join(whole.dataDir, best.path, 'manifest.json'), 'utf8'))
  const sealed = EvaluationResult.fromJSON(manifest.evaluation)
  assert.ok(sealed.metrics.length > 10)
  assert.deepEqual(
    sealed.metrics.map(({ name, value }) => [name, value]),
    best.evaluation!.metrics.map(({ name, value }) => [name, value]),
  )
  assert.equal(manifest.digest, best.digest)
})

test('a run killed while its checkpoints write the samples ends with the same figures, and asks nobody twice', async () => {
  const claim = await claimOf()
  const first = startPod(claim, claim.config, 'pod-killed')
  await logs(first, 'the last checkpoint', (seen) => seen.includes('"step":24,"digest"'))
  first.process.kill('SIGKILL')
  await first.ended
  const base = join(claim.runDirectory, 'evaluation/base.json')
  const { ino } = statSync(base)
  const again = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-again')
  assert.equal(statSync(base).ino, ino)
  assert.deepEqual(metricsOf(again), metricsOf(report))
})

test('SIGTERM in the middle of the samples ends the pod at once, and the next goes on', async () => {
  const claim = await claimOf()
  const first = startPod(
    claim,
    { ...claim.config, evaluation: { ...claim.config.evaluation!, samples: 8 } },
    'pod-stop',
  )
  await logs(first, 'the last checkpoint', (seen) => seen.includes('"step":24,"digest"'))
  const began = performance.now()
  first.process.kill('SIGTERM')
  const { code, result, output } = await first.ended
  assert.ok(performance.now() - began < 5000)
  assert.equal(code, 143, output)
  assert.equal(result?.run?.checkpoints.at(-1)?.step, 24)
  const report = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-stop')
  assert.ok(figureOf(report.checkpoints.at(-1)?.evaluation, 'distinct2') > 0)
})

test('a checkpoint that a stop sealed between two evaluations is evaluated after training, like all that are kept', async () => {
  const claim = await claimOf()
  const config = { ...claim.config, checkpoints: { everySteps: 0, keep: 9 } }
  const first = startPod(claim, config, 'pod-between')
  await reaches(first, 10)
  first.process.kill('SIGTERM')
  const { code, output } = await first.ended
  assert.equal(code, 143, output)
  const between = stepsOf(claim).filter((step) => step % 8 !== 0)
  assert.equal(between.length, 1, `${stepsOf(claim)}`)
  const { checkpoints } = await runToEnd(claim, { ...config, attempt: 2 }, 'pod-between')
  assert.ok(checkpoints.some(({ step }) => step === between[0]))
  for (const { step, evaluation } of checkpoints) {
    assert.ok(evaluation?.loss !== undefined, `checkpoint-${step}`)
    assert.ok(Number.isFinite(figureOf(evaluation, 'improvement')), `checkpoint-${step}`)
  }
})

test('the report and samples.jsonl are whole: every sample with its input and both outputs, machine-written ones beside held-out ones, and no address', () => {
  const lines = readFileSync(join(whole.runDirectory, 'samples.jsonl'), 'utf8').trim().split('\n')
  const samples = lines.map((line) => JSON.parse(line) as Record<string, string>)
  assert.equal(samples.length, 4)
  assert.deepEqual(
    samples.flatMap(({ input, human }) => (human === undefined ? [input] : [])).toSorted(),
    machineTexts.toSorted(),
  )
  for (const { id, input, base, best, digest } of samples) {
    assert.ok(id && input && base !== undefined && best !== undefined, JSON.stringify({ id, base, best }))
    assert.equal(digest, report.checkpoints.find(({ best }) => best)!.digest)
  }
  const page = readFileSync(join(whole.runDirectory, 'report.html'), 'utf8')
  for (const part of [
    report.diagnosis!.verdict,
    '<svg',
    'copy of the input',
    'machine-written inputs',
    'curvature',
    'human text',
    'checkpoint-24',
    'Checklist',
  ])
    assert.ok(page.includes(part), part)
  assert.doesNotMatch(page, /https?:|<script|src=/)
})

test('a browser shows the report of a run: curves, figures, samples side by side with their differences marked, and the checklist', async () => {
  const count = (selector: string) => `document.querySelectorAll(${JSON.stringify(selector)}).length`
  const selectors = ['g.training polyline', 'g.held-out polyline', 'line.baseline', '.metrics td small', '.samples tr']
  const marks = '.samples td:nth-child(3) :is(ins, del)'
  const { requests, complaints, values } = await openPage(pathToFileURL(join(whole.runDirectory, 'report.html')).href, [
    ...selectors.map(count),
    count(marks),
    count('td.done, td.open'),
    `[...document.querySelectorAll('.samples th')].map(({ textContent }) => textContent).join()`,
  ])
  assert.deepEqual([requests, complaints], [[], []])
  const [training, heldOut, baseline, intervals, rows, marked, items, columns] = values as [...number[], string]
  assert.deepEqual([training, heldOut, baseline, rows, items], [1, 1, 1, 5, 11])
  assert.ok((intervals as number) > 20 && (marked as number) > 0, `${intervals} intervals, ${marked} marks`)
  assert.equal(columns, 'input,base,best checkpoint,human')
})
