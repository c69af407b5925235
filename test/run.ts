/** Runs the named stages of tests in order and ends with one line, "N passed, N failed"; exit status 1 when any failed. */
import { execFileSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

interface Stage {
  readonly files: readonly string[]
  /** How many files may run at once. */
  readonly concurrency: number
  readonly before?: () => void
  readonly after?: (failed: boolean) => void
}

/** Stops the cluster that test/cluster shares, if it is there. */
const stopCluster = (env: NodeJS.ProcessEnv, output: 'inherit' | 'ignore'): Buffer =>
  execFileSync('test/cluster/down.sh', {
    env: { ...process.env, CLUSTER: 'test', ...env },
    stdio: ['ignore', output, 'inherit'],
  })

/** A stage's name is the boundary that its tests cross. */
const stages: Readonly<Record<string, Stage>> = {
  unit: { files: ['operator/**/*.test.ts', 'trainer-image/**/*.test.ts'], concurrency: 2 },
  parity: { files: ['test/parity/**/*.test.ts'], concurrency: 1 },
  cuda: { files: ['test/cuda/**/*.test.ts'], concurrency: 1 },
  wire: { files: ['test/wire/**/*.test.ts'], concurrency: 2 },
  apiserver: { files: ['test/apiserver/**/*.test.ts'], concurrency: 4 },
  chart: { files: ['test/chart/**/*.test.ts'], concurrency: 1 },
  cluster: {
    files: ['test/cluster/**/*.test.ts'],
    concurrency: 1,
    before: () => stopCluster({}, 'ignore'),
    after: (failed) => stopCluster({ KEEP_LOGS: failed ? '1' : '0' }, 'inherit'),
  },
}

/** Ctrl-C ends the tests and still stops the cluster; a second one ends everything at once. */
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())

const seconds = (since: number): string => `${((Date.now() - since) / 1000).toFixed(0)} s`

async function runStage(name: string): Promise<{ passed: number; failed: number }> {
  const stage = stages[name]
  if (!stage) throw new Error(`no stage "${name}"; there are: ${Object.keys(stages).join(', ')}`)
  const files = stage.files.flatMap((pattern) => globSync(pattern)).sort()
  if (files.length === 0) throw new Error(`stage "${name}" has no test file in ${stage.files.join(' ')}`)
  const began = Date.now()
  let passed = 0
  let failed = 0
  stage.before?.()
  const events = run({
    files,
    concurrency: stage.concurrency,
    timeout: 30 * 60_000,
    signal: interrupted.signal,
  })
  events.on('test:pass', ({ details }) => {
    if (details.type !== 'suite') passed += 1
  })
  events.on('test:fail', ({ details }) => {
    if (details.type !== 'suite') failed += 1
  })
  const report = events.compose(spec)
  try {
    for await (const chunk of report) process.stdout.write(chunk)
  } finally {
    stage.after?.(failed > 0 || interrupted.signal.aborted)
  }
  console.log(`stage ${name}: ${passed} passed, ${failed} failed in ${seconds(began)}\n`)
  return { passed, failed }
}

const total = { passed: 0, failed: 0 }
for (const name of process.argv.slice(2)) {
  const { passed, failed } = await runStage(name)
  if (interrupted.signal.aborted) process.exit(130)
  total.passed += passed
  total.failed += failed
}
console.log(`${total.passed} passed, ${total.failed} failed`)
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1)
