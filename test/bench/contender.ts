/**
 * A program that does one unit of work each time it is asked: one side of a benchmark, ours or a peer's. It reads lines and answers each
 * with one line of JSON: `round` → {"seconds": …}, `memory` → {"peakBytes": …}; at the end of its input it ends.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface, type Interface } from 'node:readline'

export class Contender implements AsyncDisposable {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface
  #errors = ''

  constructor(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...env } })
    this.#reader = createInterface({ input: this.#child.stdout! })
    this.#lines = this.#reader[Symbol.asyncIterator]()
    this.#child.stderr!.setEncoding('utf8').on('data', (chunk: string) => {
      this.#errors = (this.#errors + chunk).slice(-4000)
    })
  }

  /** Seconds of one unit of work, as the program timed it. */
  async round(): Promise<number> {
    return (await this.#ask<{ seconds: number }>('round')).seconds
  }

  /** Most bytes of memory that the whole process ever held (VmHWM). */
  async peakBytes(): Promise<number> {
    return (await this.#ask<{ peakBytes: number }>('memory')).peakBytes
  }

  async #ask<T>(request: string): Promise<T> {
    this.#child.stdin!.write(`${request}\n`)
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`${this.#child.spawnargs.join(' ')} ended before it answered:\n${this.#errors}`)
    return JSON.parse(value) as T
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve))
    if (this.#child.exitCode === null) {
      this.#child.stdin!.end()
      await ended
    }
    this.#reader.close()
  }
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Ours and the peer's seconds for a unit of work; `ratio` is the median of the pairs' theirs / ours. */
export interface Pair {
  readonly ours: number
  readonly theirs: number
  readonly ratio: number
}

/** Both in turns, `pairs` times, after `warmUps` rounds of each that do not count. */
export async function inTurns(ours: Contender, theirs: Contender, pairs: number, warmUps = 1): Promise<Pair> {
  const seconds: { ours: number; theirs: number }[] = []
  for (let pair = 0; pair < warmUps + pairs; pair++)
    seconds.push({ ours: await ours.round(), theirs: await theirs.round() })
  const counted = seconds.slice(warmUps)
  return {
    ours: median(counted.map((pair) => pair.ours)),
    theirs: median(counted.map((pair) => pair.theirs)),
    ratio: median(counted.map((pair) => pair.theirs / pair.ours)),
  }
}
