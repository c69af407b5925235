/**
 * Runs the named stages of tests and ends with one line, "N passed, N failed"; exit status 1 when any failed. Three
 * lanes of stages run beside each other: pods and leases are mostly waited for.
 */
import { execFileSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { startSharedApiServer } from './apiserver/shared-api-server.ts'
import { cacheDir } from './cache.ts'

// Half of what a test file or a pod takes to start is compiling modules that have not changed.
process.env['NODE_COMPILE_CACHE'] ??= join(cacheDir, 'compiled-modules')
// The lanes want more processors than there are: a thread of the engine that spins at a barrier takes one from the thread that it waits for.
process.env['GOMP_SPINCOUNT'] ??= '0'

/** About equally long; a fourth made tests time out on two cores. */
const lanes = [1, 2, 3] as const
type Lane = (typeof lanes)[number]

interface Stage {
  readonly files: readonly string[]
  /** How many files may run at once. */
  readonly concurrency: number
  /** The stages of a lane follow one another, the lanes run beside each other. */
  readonly lane: Lane
  /** Resolves what ends the stage's world. */
  readonly before?: () => Promise<(failed: boolean) => unknown>
}

/** Stops the cluster that test/cluster shares, if it is there. */
const stopCluster = (env: NodeJS.ProcessEnv, output: 'inherit' | 'ignore'): Buffer =>
  execFileSync('test/cluster/down.sh', {
    env: { ...process.env, CLUSTER: 'test', ...env },
    stdio: ['ignore', output, 'inherit'],
  })

/** A stage's name is the boundary that its tests cross. */
const stages: Readonly<Record<string, Stage>> = {
  unit: { files: ['operator/**/*.test.ts', 'trainer-image/**/*.test.ts'], concurrency: 2, lane: 2 },
  parity: { files: ['test/parity/**/*.test.ts', 'test/bench/*.test.ts'], concurrency: 1, lane: 1 },
  cuda: { files: ['test/{cuda,gpu}/**/*.test.ts'], concurrency: 1, lane: 1 },
  wire: { files: ['test/wire/**/*.test.ts'], concurrency: 2, lane: 2 },
  apiserver: {
    files: ['test/apiserver/**/*.test.ts'],
    concurrency: 4,
    lane: 1,
    before: async () => {
      const server = await startSharedApiServer()
      return () => server.stop()
    },
  },
  chart: { files: ['test/chart/**/*.test.ts'], concurrency: 1, lane: 1 },
  documents: { files: ['test/cluster/documentation.test.ts'], concurrency: 1, lane: 2 },
  cluster: {
    files: ['test/cluster/!(documentation).test.ts'],
    concurrency: 1,
    lane: 3,
    before: async () => {
      stopCluster({}, 'ignore')
      return (failed) => stopCluster({ KEEP_LOGS: failed ? '1' : '0' }, 'inherit')
    },
  },
}

/** Ctrl-C ends the tests and still stops the cluster; a second one ends everything at once. */
const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())

const seconds = (since: number): string => `${((Date.now() - since) / 1000).toFixed(0)} s`

interface Count {
  readonly passed: number
  readonly failed: number
}

/** Runs one stage; `print` gets what the reporter says, in whole lines. */
async function runStage(name: string, print: (text: string) => void): Promise<Count> {
  const stage = stages[name]!
  const files = stage.files.flatMap((pattern) => globSync(pattern)).sort()
  if (files.length === 0) throw new Error(`stage "${name}" has no test file in ${stage.files.join(' ')}`)
  const began = Date.now()
  let passed = 0
  let failed = 0
  const after = await stage.before?.()
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
  let rest = ''
  try {
    for await (const chunk of events.compose(spec)) {
      const text = rest + String(chunk)
      const end = text.lastIndexOf('\n') + 1
      if (end > 0) print(text.slice(0, end))
      rest = text.slice(end)
    }
  } finally {
    await after?.(failed > 0 || interrupted.signal.aborted)
  }
  print(`${rest}stage ${name}: ${passed} passed, ${failed} failed in ${seconds(began)}\n\n`)
  return { passed, failed }
}

/** Stages one after the other. Beside another lane, each line begins with its stage. */
async function runLane(names: readonly string[], alone: boolean): Promise<Count> {
  const total = { passed: 0, failed: 0 }
  for (const name of names) {
    const print = (text: string) => process.stdout.write(alone ? text : text.replaceAll(/^(?=.)/gm, `${name} │ `))
    const { passed, failed } = await runStage(name, print)
    total.passed += passed
    total.failed += failed
    if (interrupted.signal.aborted) break
  }
  return total
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !stages[name])
if (unknown.length > 0) throw new Error(`no stage "${unknown[0]}"; there are: ${Object.keys(stages).join(', ')}`)
const chosen = lanes
  .map((lane) => names.filter((name) => stages[name]!.lane === lane))
  .filter((names) => names.length > 0)
const counts = await Promise.all(chosen.map((lane) => runLane(lane, chosen.length === 1)))
if (interrupted.signal.aborted) process.exit(130)
const passed = counts.reduce((sum, count) => sum + count.passed, 0)
const failed = counts.reduce((sum, count) => sum + count.failed, 0)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 && passed > 0 ? 0 : 1)
