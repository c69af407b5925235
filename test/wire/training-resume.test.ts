import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import { type Claim, makeClaim, reaches, runToEnd, startPod, stepsOf } from './training-pod.ts'

const lastAdapter = ({ runDirectory }: Claim): Buffer =>
  readFileSync(join(runDirectory, 'checkpoint-24/adapter_model.safetensors'))
const digests = (report: RunReport): string[] =>
  report.checkpoints.map(({ name, digest, best }) => `${name} ${digest} ${best}`)
const claims: Claim[] = []
async function claimOf(...change: Parameters<typeof makeClaim>): Promise<Claim> {
  const claim = await makeClaim(...change)
  claims.push(claim)
  return claim
}

let whole: Claim
let uninterrupted: RunReport
before(async () => {
  whole = await claimOf()
  uninterrupted = await runToEnd(whole, whole.config, 'pod-whole')
})
after(() => {
  for (const claim of claims) claim.remove()
})

test('the loss falls below the baseline and the best checkpoint is on disk', () => {
  const { baseline, checkpoints, state } = uninterrupted
  const best = checkpoints.find(({ best }) => best)
  assert.equal(state, 'RUN_STATE_SUCCEEDED')
  assert.ok(best?.evaluation?.loss !== undefined && baseline?.loss !== undefined)
  assert.ok(best.evaluation.loss + best.evaluation.lossInterval! < baseline.loss - baseline.lossInterval!)
  const { value, low, high } = best.evaluation.metrics.find(({ name }) => name === 'improvement')!
  assert.ok(Math.abs(value - (baseline.loss - best.evaluation.loss)) < 1e-6)
  assert.ok(0 < low! && low! < value && value < high!, `improvement ${value}, 95 % interval ${low} to ${high}`)
  assert.ok(Math.abs(baseline.loss - baseline.unquantizedLoss!) < 0.1, 'NF4 costs little')
  assert.ok(existsSync(join(whole.dataDir, best.path, 'manifest.json')))
  const { examplesPerStep, memory } = JSON.parse(readFileSync(join(whole.runDirectory, 'run_config.json'), 'utf8'))
  assert.ok(examplesPerStep > 2, 'packed')
  assert.equal(memory.activationCheckpointing, 'None')
  assert.match(memory.reason, /^Auto: None needs \d+ MiB of \d+ MiB$/)
  const { node, checkpoint, generation, ...engine } = memory.items as Record<string, number>
  assert.equal(
    memory.total,
    Object.values(engine).reduce((sum, bytes) => sum + bytes, node! + checkpoint! + generation!),
  )
  const planned = memory.total - node! - checkpoint! - generation!
  const { peakMemoryBytes } = uninterrupted.progress!
  assert.ok(
    planned >= peakMemoryBytes && planned < 1.3 * peakMemoryBytes,
    `${planned} planned, ${peakMemoryBytes} taken`,
  )
})

test('trap 16: a run that keeps only the inputs of its layers ends with the same bytes', async () => {
  const claim = await claimOf()
  const training = { ...claim.config.training!, activationCheckpointing: 'Full' }
  const report = await runToEnd(claim, { ...claim.config, training }, 'pod-full')
  const { memory } = JSON.parse(readFileSync(join(claim.runDirectory, 'run_config.json'), 'utf8'))
  assert.equal(memory.activationCheckpointing, 'Full')
  assert.deepEqual(digests(report), digests(uninterrupted))
  assert.ok(report.progress!.peakMemoryBytes < uninterrupted.progress!.peakMemoryBytes)
})

test('trap 11: a run killed at random moments ends with the same bytes as one that never was', async (t) => {
  const claim = await claimOf()
  const kills: string[] = []
  for (let attempt = 1; attempt <= 3; attempt++) {
    const pod = startPod(claim, { ...claim.config, attempt }, 'pod-killed')
    const step = 2 * (3 * attempt + Math.floor(3 * Math.random()))
    const delay = Math.floor(60 * Math.random())
    await reaches(pod, step)
    await sleep(delay)
    pod.process.kill('SIGKILL')
    const { code } = await pod.ended
    kills.push(`step ${step} + ${delay} ms: ${code}, sealed ${stepsOf(claim)}`)
    if (code === 0) break // the last step came before the kill
  }
  t.diagnostic(kills.join('; '))
  const report = await runToEnd(claim, { ...claim.config, attempt: 4 }, 'pod-killed')
  assert.ok(report.resumedFromStep > 0 && report.exact)
  assert.ok(lastAdapter(claim).equals(lastAdapter(whole)), kills.join('; '))
  assert.deepEqual(digests(report), digests(uninterrupted))
})

test('SIGTERM seals the last optimizer step, exits 143 at once, and the run goes on from there', async () => {
  const claim = await claimOf()
  const pod = startPod(claim, claim.config, 'pod-stopped')
  await reaches(pod, 6)
  const began = performance.now()
  pod.process.kill('SIGTERM')
  const { code, result } = await pod.ended
  assert.ok(performance.now() - began < 5000)
  assert.equal(code, 143)
  assert.equal(result?.reason, 'Stopped')
  assert.equal(result?.run?.state, 'RUN_STATE_STOPPED')
  const sealed = result?.run?.checkpoints.at(-1)?.step ?? 0
  assert.ok(sealed >= 6 && sealed === result?.run?.progress?.step)

  const report = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-stopped')
  assert.equal(report.resumedFromStep, sealed)
  assert.ok(lastAdapter(claim).equals(lastAdapter(whole)))
})

test('a checkpoint whose bytes differ from its manifest is skipped with a warning and swept', async () => {
  const claim = await claimOf()
  const pod = startPod(claim, claim.config, 'pod-corrupt')
  await reaches(pod, 12)
  pod.process.kill('SIGKILL')
  await pod.ended
  const newest = `checkpoint-${Math.max(...stepsOf(claim))}`
  const path = join(claim.runDirectory, newest, 'adapter_model.safetensors')
  const bytes = readFileSync(path)
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(path, bytes)

  const report = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-corrupt')
  assert.ok(report.warnings.some((warning) => warning.startsWith(`${newest} was not whole`)))
  assert.ok(report.resumedFromStep < Number(newest.slice('checkpoint-'.length)))
  assert.ok(lastAdapter(claim).equals(lastAdapter(whole)))
})

test('a finished run reports again and does not train', async () => {
  const before = readdirSync(whole.runDirectory)
  const report = await runToEnd(whole, { ...whole.config, attempt: 2 }, 'pod-again')
  assert.deepEqual(report, uninterrupted)
  assert.deepEqual(readdirSync(whole.runDirectory), before)
})

test('a pod is Locked out while another writes the folder, and takes over when that one is dead', async () => {
  const claim = await claimOf((config) => ({ ...config, training: { ...config.training!, maxSteps: 5000 } }))
  const first = startPod(claim, claim.config, 'pod-first')
  await reaches(first, 2)
  const second = await startPod(claim, { ...claim.config, attempt: 2 }, 'pod-second').ended
  assert.equal(second.code, 75, second.output)
  assert.match(second.result?.message ?? '', /is written by pod pod-first/)
  first.process.kill('SIGKILL')
  await first.ended
  const third = startPod(claim, { ...claim.config, attempt: 3 }, 'pod-third')
  await reaches(third, 2)
  third.process.kill('SIGKILL')
  await third.ended
})

test('a run killed between its last seal and its result reports the progress of that seal', async () => {
  const claim = await claimOf()
  await runToEnd(claim, claim.config, 'pod-unreported')
  rmSync(join(claim.runDirectory, 'result.json'))
  const report = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-unreported')
  const { step, totalSteps, evalLoss, trainLoss } = uninterrupted.progress!
  assert.equal(report.resumedFromStep, 24)
  assert.deepEqual([report.progress?.step, report.progress?.totalSteps], [step, totalSteps])
  assert.equal(report.progress?.evalLoss, evalLoss)
  assert.ok(Math.abs(report.progress!.trainLoss! - trainLoss!) < 1, 'the mean of the last logged steps')
  assert.deepEqual(digests(report), digests(uninterrupted))
})

test('once an attempt was not exact the run is not, and it keeps the date of its template', async () => {
  const claim = await claimOf()
  const { config } = claim
  const stop = async (attempt: number, training: object, step: number): Promise<RunReport> => {
    const pod = startPod(claim, { ...config, attempt, training: { ...config.training!, ...training } }, 'pod-moved')
    await reaches(pod, step)
    pod.process.kill('SIGTERM')
    return (await pod.ended).result!.run!
  }
  const halves = { microBatchSize: 1, gradientAccumulation: 4 }
  assert.equal((await stop(1, {}, 4)).exact, true)
  const path = join(claim.runDirectory, 'run_config.json')
  writeFileSync(path, readFileSync(path, 'utf8').replace('26 Jul 2024', '1 Jan 2020'))
  assert.equal((await stop(2, halves, 12)).exact, false)
  const report = await runToEnd(claim, { ...config, attempt: 3 }, 'pod-moved')
  assert.equal(report.exact, false)
  assert.ok(report.warnings.some((warning) => /checkpoint-\d+ is of an attempt that was not/.test(warning)))
  const manifest = JSON.parse(readFileSync(join(claim.runDirectory, 'checkpoint-24/manifest.json'), 'utf8'))
  assert.deepEqual([manifest.exact, manifest.templateDate], [false, '1 Jan 2020'])
})

/** A run too fast to get better to its end: its best is not its newest. Which one it is hangs on rounding, so seeds are tried. */
async function pastItsBest(): Promise<{ claim: Claim; report: RunReport }> {
  for (let seed = 1; seed <= 12; seed++) {
    const claim = await claimOf((config) => ({
      ...config,
      training: { ...config.training!, learningRate: 1, learningRateSchedule: 'Constant', seed },
      checkpoints: { everySteps: 5, keep: 3 },
    }))
    const report = await runToEnd(claim, claim.config, 'pod-lost')
    if (!report.checkpoints.at(-1)!.best) return { claim, report }
  }
  throw new Error('the newest checkpoint was the best with each of twelve seeds')
}

test('when the best checkpoint is lost the best of the others is, with a warning', async () => {
  const { claim, report: before } = await pastItsBest()
  const bestOf = ({ checkpoints }: RunReport) => checkpoints.find(({ best }) => best)
  const lost = bestOf(before)!
  const left = before.checkpoints.filter(({ best }) => !best)
  rmSync(join(claim.runDirectory, 'result.json'))
  rmSync(join(claim.runDirectory, lost.name), { recursive: true })
  const after = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-lost')
  const next = left.toSorted((a, b) => a.evaluation!.loss! - b.evaluation!.loss!)[0]!
  assert.equal(bestOf(after)?.name, next.name)
  assert.ok(
    after.warnings.includes(`${lost.name}, the best so far, was lost; the best is now ${next.name}`),
    after.warnings.join(),
  )
})
