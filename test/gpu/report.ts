/** What `make gpu` finds out of a device: every kernel and whole steps against the CPU, then what steps take. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import type { Architecture, ComputePath } from '../../trainer-image/native/index.ts'
import { type Benchmark, benchmark, type Setting } from './benchmark.ts'
import type { Errors } from './parity.ts'
import { type PeerPlan, type Peers, peerSteps } from './peers.ts'

export interface Comparison {
  readonly family: string
  readonly path: string
  readonly ok: boolean
  readonly errors: Errors
  readonly bound: Errors
  /** What should be the same and is not: bits of another policy, tokens in f32. */
  readonly differ: readonly string[]
}

/** Of the cases of test/cuda/ops*.cu. */
export interface KernelCases {
  readonly passed: number
  /** Which, and why; a program that ended early is one, too. */
  readonly failed: readonly string[]
}

export interface Report {
  /** As CUDA names it. */
  readonly gpu: string
  /** Who else was there: driver.ts. */
  readonly others: string | null
  /** The device of test/cuda/emulator: nothing here then says anything about a GPU. */
  readonly emulated: boolean
  /** Dense bf16 operations a second of the card's data sheet; null where the card is not known. */
  readonly peak: number | null
  readonly kernels: KernelCases
  readonly parity: readonly Comparison[]
  /** Why that ended early; null where it did not. */
  readonly parityProblem: string | null
  /** What each tool of compute-sanitizer said of the kernels' cases. */
  readonly sanitizer: Readonly<Record<string, string>>
  readonly benchmark: Benchmark
  readonly peers: Peers
}

export interface Work {
  readonly gpu: string
  readonly others: string | null
  readonly emulated: boolean
  /** The kernels' cases, and which groups of them (ops.cc). */
  readonly cases: { readonly program: string; readonly groups: readonly string[] }
  /** Of parity.ts; none: all. */
  readonly families: readonly string[]
  readonly architecture: Architecture
  readonly path: ComputePath
  readonly settings: readonly Setting[]
  readonly steps: number
  readonly threads: number
  readonly peers: PeerPlan
}

/** Nothing differs, something was compared, and nothing ended early. */
export const isRight = ({ kernels, parity, parityProblem, sanitizer, benchmark }: Report): boolean =>
  parityProblem === null &&
  benchmark.failed === null &&
  kernels.failed.length === 0 &&
  kernels.passed > 0 &&
  parity.length > 0 &&
  parity.every(({ ok }) => ok) &&
  Object.values(sanitizer).every((said) => said === 'clean' || said === NOT_INSTALLED || said === TOO_LONG)

export async function reportOf(work: Work): Promise<Report> {
  const { gpu, others, emulated, cases, families, architecture, path, settings, steps, threads, peers } = work
  return {
    gpu,
    others,
    emulated,
    peak: peakOf(gpu),
    kernels: kernelCases(cases.program, cases.groups),
    ...comparisons(families),
    sanitizer: sanitized(cases.program, cases.groups),
    benchmark: await benchmark(architecture, path, { settings, steps, threads }),
    peers: peerSteps(architecture, peers),
  }
}

/** Dense bf16 operations a second with f32 sums, by the vendor's data sheets (SXM; other forms of a card have less). */
const peaks: readonly (readonly [string, number])[] = [
  ['A100', 312e12],
  ['H100', 989e12],
  ['H200', 989e12],
  ['4090', 165e12],
]

/** Of a slice of a card (MIG) no peak is known. */
export const peakOf = (gpu: string): number | null =>
  gpu.includes('MIG ') ? null : (peaks.find(([name]) => gpu.includes(name))?.[1] ?? null)

function kernelCases(program: string, groups: readonly string[]): KernelCases {
  const { error, status, signal, stdout } = spawnSync(program, groups, {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
    maxBuffer: 2 ** 28,
  })
  const lines = (stdout ?? '').split('\n')
  const failed = lines.flatMap((line) => (line.startsWith('not ok ') ? [line.slice('not ok '.length)] : []))
  if (status !== 0) failed.push(`${program} ended with ${error?.message ?? signal ?? `exit status ${status}`}`)
  return { passed: lines.filter((line) => line.startsWith('ok ')).length, failed }
}

/** In a process of its own: a device that is lost takes its process with it. */
function comparisons(families: readonly string[]): Pick<Report, 'parity' | 'parityProblem'> {
  const program = join(import.meta.dirname, 'parity.ts')
  const { status, signal, stdout } = spawnSync(process.execPath, [program, ...families], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const parity = stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Comparison)
  const isEarly = status !== 0 && parity.every(({ ok }) => ok)
  return { parity, parityProblem: isEarly ? `${program} ended with ${signal ?? `exit status ${status}`}` : null }
}

const NOT_INSTALLED = 'not installed'
/** Under a tool a case takes a hundred times as long. */
const TOOL_MINUTES = 20
const TOO_LONG = `not finished in ${TOOL_MINUTES} minutes`
/** The exit status that compute-sanitizer is told to give where it found something. */
const FOUND = 99

function sanitized(program: string, groups: readonly string[]): Record<string, string> {
  const said: Record<string, string> = {}
  const env = { ...process.env, PATH: `${process.env['PATH']}:/usr/local/cuda/bin` } // where NVIDIA's installers put it
  for (const tool of ['memcheck', 'racecheck', 'initcheck', 'synccheck']) {
    const { error, status } = spawnSync(
      'compute-sanitizer',
      ['--tool', tool, '--error-exitcode', String(FOUND), program, ...groups],
      { stdio: ['ignore', 'ignore', 'inherit'], env, timeout: TOOL_MINUTES * 60_000 },
    )
    const code = (error as NodeJS.ErrnoException | undefined)?.code
    said[tool] = error
      ? code === 'ETIMEDOUT'
        ? TOO_LONG
        : NOT_INSTALLED
      : status === 0
        ? 'clean'
        : status === FOUND
          ? 'found errors'
          : `exit status ${status}`
  }
  return said
}
