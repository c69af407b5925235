/** A training pod and a tracking server. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import type { TrainConfig } from '#proto/humanizer/trainer/v1/run.ts'
import { WandbServer } from '../fixtures/wandb-server.ts'
import { type Claim, logs, makeClaim, runToEnd, startPod } from './training-pod.ts'

const key = 'e'.repeat(40)
let server: WandbServer
let claim: Claim
beforeEach(async () => {
  server = new WandbServer(key)
  const baseUrl = await server.listen()
  claim = await makeClaim((config) => {
    const { logging, evaluation } = config
    const weightsAndBiases = { baseUrl, entity: 'team', project: 'prose', mode: 'Online', keyFile: '', samples: true }
    return { ...config, evaluation: { ...evaluation!, samples: 2 }, logging: { ...logging!, weightsAndBiases } }
  })
  writeFileSync(join(claim.dataDir, 'key'), key)
})
afterEach(() => {
  server.close()
  claim.remove()
})

/** The claim's configuration with its key. */
function configOf(change: Partial<TrainConfig> = {}): TrainConfig {
  const { logging } = claim.config
  const weightsAndBiases = { ...logging!.weightsAndBiases!, keyFile: join(claim.dataDir, 'key') }
  return { ...claim.config, logging: { ...logging!, weightsAndBiases }, ...change }
}

test('a run killed in the middle stands at the server with each step once, its verdict, samples and report; the key nowhere', async () => {
  const first = startPod(claim, configOf(), 'pod-killed')
  await logs(first, 'a checkpoint', (seen) => seen.includes('"step":15,"digest"'))
  first.process.kill('SIGKILL')
  const { output } = await first.ended
  const second = startPod(claim, configOf({ attempt: 2 }), 'pod-again')
  const ended = await second.ended
  assert.equal(ended.code, 0, ended.output)
  const report = ended.result!.run!
  const run = server.runs.get(claim.config.owner!.uid)!
  assert.equal(run.exitcode, 0)
  const rows = run.history.map((line) => JSON.parse(line) as Record<string, number>)
  const losses = rows.filter((row) => row['train/loss'] !== undefined).map((row) => row['_step'])
  assert.deepEqual(losses, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24])
  const held = rows.filter((row) => row['eval/loss'] !== undefined).map((row) => row['_step'])
  assert.deepEqual(held, [5, 8, 10, 15, 16, 20, 24])
  assert.equal(run.summary['diagnosis'], report.diagnosis?.verdict)
  assert.equal(run.summary['best/digest'], report.checkpoints.find(({ best }) => best)?.digest)
  assert.equal(run.files.get('report.html')?.toString(), readFileSync(join(claim.runDirectory, 'report.html'), 'utf8'))
  const { path, nrows } = run.summary['samples'] as { path: string; nrows: number }
  assert.equal(nrows, 2)
  assert.deepEqual(JSON.parse(run.files.get(path)!.toString()).columns, ['id', 'input', 'human', 'base', 'best'])
  assert.match(report.tracking?.url ?? '', /\/team\/prose\/runs\//)
  assert.equal(report.tracking?.problem, '')
  for (const text of [output, ended.output, JSON.stringify(ended.result)]) assert.ok(!text.includes(key))
})

for (const [what, mood, says] of [
  ['is silent', 'hang', /rows and .* files were not sent/],
  ['refuses the key', { status: 401 }, /answered 401/],
] as const)
  test(`a server that ${what} costs a run nothing but a word`, async () => {
    server.mood = () => mood
    const report = await runToEnd(claim, configOf(), 'pod-alone')
    assert.equal(report.state, 'RUN_STATE_SUCCEEDED')
    assert.match(report.tracking?.problem ?? '', says)
    assert.equal(server.runs.size, 0)
  })
