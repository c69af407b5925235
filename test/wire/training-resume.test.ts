import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { RunReport } from '#proto/humanizer/trainer/v1/run.ts'
import { type Claim, makeClaim, type Pod, runToEnd, startPod } from './training-pod.ts'

const lastAdapter = ({ runDirectory }: Claim): Buffer =>
  readFileSync(join(runDirectory, 'checkpoint-24/adapter_model.safetensors'))
const digests = (report: RunReport): string[] =>
  report.checkpoints.map(({ name, digest, best }) => `${name} ${digest} ${best}`)
const stepsOf = (claim: Claim): number[] =>
  readdirSync(claim.runDirectory).flatMap((name) => /^checkpoint-(\d+)$/.exec(name)?.slice(1).map(Number) ?? [])

/** Resolves when the pod has logged this step or a later one. */
function reaches(pod: Pod, step: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = ''
    pod.process.stdout?.on('data', (chunk) => {
      seen += chunk
      const steps = Array.from(seen.matchAll(/"step":(\d+),"totalSteps"/g), ([, digits]) => Number(digits))
      if (steps.some((logged) => logged >= step)) resolve()
    })
    pod.ended.then(({ code, output }) => reject(new Error(`ended with ${code} before step ${step}\n${output}`)))
  })
}

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
  assert.ok(Math.abs(baseline.loss - baseline.unquantizedLoss!) < 0.1, 'NF4 costs little')
  assert.ok(existsSync(join(whole.dataDir, best.path, 'manifest.json')))
})

test('a run killed at random moments ends with the same bytes as one that never was', async (t) => {
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

const refusals = [
  {
    field: 'lora.targetModules',
    change: { lora: { targetModules: ['c_attn'] } },
    code: 64,
    words: /"c_attn" matches no module/,
  },
  {
    field: 'training.maxSequenceLength',
    change: { training: { maxSequenceLength: 4096 } },
    code: 64,
    words: /is 4096; expected at most 2048/,
  },
  {
    field: 'training.learningRateSchedule',
    change: { training: { learningRateSchedule: 'Sine' } },
    code: 64,
    words: /is "Sine"; expected Cosine, Linear, Constant/,
  },
  {
    field: 'a sequence that nothing fits',
    change: { training: { maxSequenceLength: 32 } },
    code: 67,
    words: /no example fits/,
  },
  {
    field: 'a dataset that is not there',
    change: { datasetPath: 'datasets/gone' },
    code: 66,
    words: /is not at .*gone/,
  },
  {
    field: 'a model that is not there',
    change: { model: { path: 'models/gone' } },
    code: 66,
    words: /there is no such model/,
  },
  { field: 'backend CUDA', change: { backend: 'CUDA' }, code: 72, words: /CPU engine only/ },
] as const

for (const { field, change, code, words } of refusals)
  test(`${field} that cannot work ends the job with exit ${code} and the words that say why`, async () => {
    const claim = await claimOf((config) => {
      const merged = { ...config } as Record<string, unknown>
      for (const [key, value] of Object.entries(change))
        merged[key] = typeof value === 'object' ? { ...(merged[key] as object), ...value } : value
      return merged as unknown as typeof config
    })
    const ended = await startPod(claim, claim.config, 'pod-refused').ended
    assert.equal(ended.code, code, ended.output)
    assert.match(ended.result?.message ?? '', words)
  })
