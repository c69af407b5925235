import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'

/**
 * A process that dies with this one, however this one ends: with SIGKILL too, and when the test runner ends it. The kernel sees to it
 * (prctl(2), PR_SET_PDEATHSIG).
 */
export const spawnTied = (program: string, args: readonly string[], options: SpawnOptions): ChildProcess =>
  spawn('/usr/bin/setpriv', ['--pdeathsig', 'KILL', program, ...args], options)
