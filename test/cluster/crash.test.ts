/**
 * The operator dies right after every single mutating call that it makes, and starts again, until a dataset, a run and a release
 * are done: nothing trains twice and everything converges.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { datasetSpec, holds, type Namespace, openWorld, runSpec, type World } from './world.ts'

const faultExitCode = 86
const root = join(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'humanizer-crash-'))
let world: World
let namespace: Namespace
let trainerImage: string

/** Runs the operator inside the cluster's network until it ends or `signal` aborts; resolves its exit code. */
function operate(signal: AbortSignal): Promise<number | null> {
  const runDir = world.cluster.runDir!
  const init = readFileSync(join(runDir, 'pid.init'), 'utf8').trim()
  return new Promise((resolve) => {
    const child = spawn('nsenter', ['-t', init, '-n', process.execPath, join(root, 'operator', 'main.ts')], {
      env: {
        ...process.env,
        KUBECONFIG: join(runDir, 'admin-in-node.conf'),
        POD_NAMESPACE: 'humanizer-system',
        POD_NAME: 'crashing',
        TRAINER_IMAGE: trainerImage,
        SIGNING_KEY_FILE: join(folder, 'key.pem'),
        METRICS_PORT: '0',
        HEALTH_PORT: '0',
        FAULT_AFTER_MUTATION: '1',
      },
      stdio: 'ignore',
    })
    const stop = (): boolean => child.kill('SIGKILL')
    signal.addEventListener('abort', stop, { once: true })
    child.once('exit', (code) => {
      signal.removeEventListener('abort', stop)
      resolve(code)
    })
  })
}

before(async () => {
  world = await openWorld()
  trainerImage = await world.trainerImage()
  await world.scaleOperator(0)
  namespace = await world.openNamespace('crash')
  const { privateKey } = generateKeyPairSync('ed25519')
  writeFileSync(join(folder, 'key.pem'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
})
after(async () => {
  rmSync(folder, { recursive: true })
  await world.scaleOperator(1)
})

test('a dataset, a run and a release converge although the operator dies after every mutating call', async () => {
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
  await namespace.apply('QLoRARun', 'crash', runSpec(60))
  await namespace.apply('AdapterRelease', 'crash', { source: { run: { name: 'crash', checkpoint: 'Best' } } })
  const enough = new AbortController()
  let deaths = 0
  let unexpected: number | null | undefined
  const operating = (async () => {
    while (!enough.signal.aborted) {
      const code = await operate(enough.signal)
      if (code === faultExitCode) deaths += 1
      else if (!enough.signal.aborted) unexpected = code
    }
  })()
  try {
    await namespace.until('arl', 'crash', 'to be Ready', 420, (release) => holds(release, 'Ready'))
  } finally {
    enough.abort()
    await operating
  }
  assert.equal(unexpected, undefined, `the operator ended with ${unexpected} by itself`)
  assert.ok(deaths >= 12, `the operator died only ${deaths} times`)
  const run = await namespace.get('qlr', 'crash')
  assert.ok(run && holds(run, 'Succeeded'))
  assert.equal(run.status?.attempts?.length, 1, JSON.stringify(run.status?.attempts))
  const trained = (await namespace.pods('humanizer.dev/run=crash')).filter(({ metadata }) =>
    metadata.name.includes('-train-'),
  )
  assert.equal(trained.length, 1, `pods: ${trained.map(({ metadata }) => metadata.name)}`)
  console.log(`the operator died ${deaths} times`)
})
