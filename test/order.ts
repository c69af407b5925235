/** Which files of a stage begin first: those that took longest the last time, so that none is waited for alone at the end. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheDir } from './cache.ts'

const path = join(cacheDir, 'test-milliseconds.json')

/** Of each test file that has run on this machine; empty before the first time. */
function lastTimes(): Record<string, number> {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return {}
  }
}

/** A file that never ran may be long, and begins first. */
export function longestFirst(files: readonly string[]): string[] {
  const times = lastTimes()
  const timeOf = (file: string): number => times[file] ?? Number.POSITIVE_INFINITY
  return files.toSorted((a, b) => (timeOf(a) === timeOf(b) ? 0 : timeOf(b) - timeOf(a)))
}

/** Keeps how long these took for the next time. */
export function keepTimes(times: Readonly<Record<string, number>>): void {
  mkdirSync(cacheDir, { recursive: true })
  writeFileSync(path, JSON.stringify({ ...lastTimes(), ...times }))
}
