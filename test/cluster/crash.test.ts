/**
 * The operator dies right after every single mutating call that it makes, and starts again, until a dataset, a run and a release
 * are done: nothing trains twice and everything converges.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { FAULT_EXIT_CODE } from '../../operator/kube/fault.ts'
import { spawnTied } from '../child.ts'
import type { CustomObject } from './objects.ts'
import { datasetSpec, holds, type Namespace, openWorld, runSpec, type World } from './world.ts'

/** Few checkpoints and evaluations: each is a status to write, and every write costs a life. */
const short = runSpec(20, { evaluation: { everySteps: 20, maxExamples: 4 }, checkpoints: { everySteps: 20, keep: 1 } })
const root = join(import.meta.dirname, '..', '..')
const folder = mkdtempSync(join(tmpdir(), 'humanizer-crash-'))
let world: World
let namespace: Namespace
let trainerImage: string

/** Runs the operator inside the cluster's network until it ends or `signal` aborts; resolves its exit code. */
function operate(signal: AbortSignal): Promise<number | null> {
  const runDir = world.cluster.runDir!
  const init = readFileSync(join(runDir, 'pid.init'), 'utf8').trim()
  const log = openSync(join(runDir, 'log', 'crashing-operator.log'), 'a')
  return new Promise((resolve) => {
    const child = spawnTied('nsenter', ['-t', init, '-n', process.execPath, join(root, 'build', 'operator.mjs')], {
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
      stdio: ['ignore', log, log],
    })
    const stop = (): boolean => child.kill('SIGKILL')
    signal.addEventListener('abort', stop, { once: true })
    child.once('exit', (code) => {
      signal.removeEventListener('abort', stop)
      closeSync(log)
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
  await world?.scaleOperator(1)
})

/** How often each Job of the namespace made a pod, by the Events of the Job controller: pods that are gone count too. */
async function podsMade(): Promise<Readonly<Record<string, number>>> {
  const selector = 'reason=SuccessfulCreate,involvedObject.kind=Job'
  const { items } = JSON.parse(
    await namespace.kubectl(['get', 'events', '--field-selector', selector, '-o', 'json']),
  ) as { items: { involvedObject: { name: string }; count?: number }[] }
  const made: Record<string, number> = {}
  for (const { involvedObject, count } of items)
    made[involvedObject.name] = (made[involvedObject.name] ?? 0) + (count ?? 1)
  return made
}

test('a dataset, a run and a release converge although the operator dies after every mutating call', async (t) => {
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec(60))
  await namespace.apply('QLoRARun', 'crash', short)
  await namespace.apply('AdapterRelease', 'crash', { source: { run: { name: 'crash', checkpoint: 'Best' } } })
  const enough = new AbortController()
  const lives: number[] = []
  let unexpected: number | null | undefined
  const began = Date.now()
  const operating = (async () => {
    while (!enough.signal.aborted && unexpected === undefined) {
      const born = Date.now()
      const code = await operate(enough.signal)
      if (code === FAULT_EXIT_CODE) lives.push(Date.now() - born)
      else if (!enough.signal.aborted) unexpected = code
    }
  })()
  try {
    const over = (release: CustomObject): boolean => unexpected !== undefined || holds(release, 'Ready')
    await namespace.until('arl', 'crash', 'to be Ready', 1200, over)
  } finally {
    enough.abort()
    await operating
  }
  const seconds = (milliseconds: number): string => (milliseconds / 1000).toFixed(1)
  t.diagnostic(
    `the operator died ${lives.length} times in ${seconds(Date.now() - began)} s; ` +
      `a life took ${seconds(lives.toSorted((a, b) => a - b)[lives.length >> 1] ?? 0)} s in the median`,
  )
  assert.equal(unexpected, undefined, `the operator ended with ${unexpected} by itself`)
  assert.ok(lives.length >= 20, `the operator died only ${lives.length} times`)
  const run = await namespace.get('qlr', 'crash')
  assert.ok(run && holds(run, 'Succeeded'))
  assert.equal(run.status?.attempts?.length, 1, JSON.stringify(run.status?.attempts))
  assert.deepEqual(await podsMade(), { 'prose-prepare-1': 1, 'crash-fetch-1': 1, 'crash-train-1': 1 })
  const pods = (await namespace.pods('batch.kubernetes.io/job-name')).map(({ metadata }) =>
    metadata.name.replace(/-[^-]+$/, ''),
  )
  assert.deepEqual(pods.sort(), ['crash-fetch-1', 'crash-train-1', 'prose-prepare-1'])
})
