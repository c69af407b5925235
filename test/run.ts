/**
 * Runs the named stages of tests and ends with what failed and one line, "N passed, N failed"; exit status 1 when any
 * failed. Three lanes of stages run beside each other: pods and leases are mostly waited for. With AGAIN=1 a few files
 * that failed run once more, alone, and what passes only then is named as unstable.
 */
import { execFileSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { startSharedApiServer } from './apiserver/shared-api-server.ts'
import { cacheDir } from './cache.ts'
import { keepTimes, longestFirst } from './order.ts'

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
  cuda: { files: ['test/{cuda,gpu}/**/*.test.ts'], concurrency: 2, lane: 1 },
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

interface Failure {
  readonly test: string
  readonly error: string
}

interface FileResult {
  readonly stage: string
  passed: number
  readonly failures: Failure[]
}

/** Of each test file that ran, by its path; the last run counts. */
const results = new Map<string, FileResult>()
const failedFiles = (): [string, FileResult][] => [...results].filter(([, { failures }]) => failures.length > 0)

/** Runs files of a stage; `print` gets what the reporter says, in whole lines. */
async function runStage(name: string, files: readonly string[], print: (text: string) => void): Promise<void> {
  const stage = stages[name]!
  for (const file of files) results.set(file, { stage: name, passed: 0, failures: [] })
  // A test may be defined by a helper that its file imports; a file that does not load has no entry.
  const resultOf = ({ entryFile, file }: { readonly entryFile?: string; readonly file?: string }): FileResult =>
    results.get(relative('', entryFile ?? file ?? ''))!
  const failed = () => files.some((file) => results.get(file)!.failures.length > 0)
  const began = Date.now()
  const after = await stage.before?.()
  const events = run({
    files: [...files],
    concurrency: stage.concurrency,
    timeout: 30 * 60_000,
    signal: interrupted.signal,
  })
  events.on('test:pass', (event) => {
    if (event.details.type !== 'suite') resultOf(event).passed += 1
  })
  events.on('test:fail', (event) => {
    if (event.details.type !== 'suite')
      resultOf(event).failures.push({ test: event.name, error: event.details.error.message })
  })
  const times: Record<string, number> = {}
  events.on('test:summary', ({ file, duration_ms }) => {
    if (file !== undefined) times[relative('', file)] = Math.round(duration_ms)
  })
  let rest = ''
  try {
    for await (const chunk of events.compose(spec)) {
      const text = rest + String(chunk)
      const end = text.lastIndexOf('\n') + 1
      if (end > 0) print(text.slice(0, end))
      rest = text.slice(end)
    }
    keepTimes(times)
  } finally {
    await after?.(failed() || interrupted.signal.aborted)
  }
  print(`${rest}stage ${name}: ${sums(name)} in ${seconds(began)}\n\n`)
}

/** Stages one after the other. Beside another lane, each line begins with its stage. */
async function runLane(names: readonly string[], alone: boolean): Promise<void> {
  for (const name of names) {
    const { files: patterns, concurrency } = stages[name]!
    const files = patterns.flatMap((pattern) => globSync(pattern)).sort()
    if (files.length === 0) throw new Error(`stage "${name}" has no test file in ${patterns.join(' ')}`)
    await runStage(name, concurrency > 1 ? longestFirst(files) : files, (text) =>
      process.stdout.write(alone ? text : text.replaceAll(/^(?=.)/gm, `${name} │ `)),
    )
    if (interrupted.signal.aborted) return
  }
}

/** "N passed, N failed", of one stage or of all. */
function sums(name?: string): string {
  const counted = [...results.values()].filter(({ stage }) => name === undefined || stage === name)
  const failed = counted.reduce((sum, { failures }) => sum + failures.length, 0)
  return `${counted.reduce((sum, { passed }) => sum + passed, 0)} passed, ${failed} failed`
}

const printFailures = (what: string, failed: readonly [string, FileResult][]): void => {
  for (const [file, { failures }] of failed)
    for (const { test, error } of failures) console.log(`${what}: ${file}: ${test}: ${error.split('\n', 1)[0]}`)
}

const names = process.argv.slice(2)
const unknown = names.filter((name) => !stages[name])
if (unknown.length > 0) throw new Error(`no stage "${unknown[0]}"; there are: ${Object.keys(stages).join(', ')}`)
const chosen = lanes
  .map((lane) => names.filter((name) => stages[name]!.lane === lane))
  .filter((names) => names.length > 0)
await Promise.all(chosen.map((lane) => runLane(lane, chosen.length === 1)))
if (interrupted.signal.aborted) process.exit(130)

const failed = failedFiles()
if (failed.length > 0 && failed.length <= 3 && process.env['AGAIN'] === '1') {
  printFailures('failed, runs again', failed)
  for (const [file, { stage }] of failed) await runStage(stage, [file], (text) => process.stdout.write(text))
  const stillFailing = new Set(failedFiles().map(([file]) => file))
  printFailures(
    'unstable',
    failed.filter(([file]) => !stillFailing.has(file)),
  )
}
printFailures('failed', failedFiles())
console.log(sums())
process.exit(failedFiles().length === 0 && results.size > 0 ? 0 : 1)
