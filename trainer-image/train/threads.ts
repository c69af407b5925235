import { readFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'

/** Content of a file, or undefined when it is not there. */
export type ReadText = (path: string) => string | undefined

export const readText: ReadText = (path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** CPUs that the container's quota amounts to, from cgroup v2 or v1; undefined without a limit. */
export function cpuQuota(read: ReadText = readText): number | undefined {
  const unified = read('/sys/fs/cgroup/cpu.max')?.trim().split(' ')
  const [quota, period] = unified ?? [
    read('/sys/fs/cgroup/cpu/cpu.cfs_quota_us')?.trim(),
    read('/sys/fs/cgroup/cpu/cpu.cfs_period_us')?.trim(),
  ]
  const cpus = Number(quota) / Number(period)
  return Number.isFinite(cpus) && cpus > 0 ? cpus : undefined // "max" in v2, -1 in v1
}

/** Threads of the engine: whole CPUs of the quota, since a throttled thread holds up all others; at least one. */
export function threadsOfQuota(read: ReadText = readText, cpus: number = availableParallelism()): number {
  return Math.max(1, Math.min(cpus, Math.floor(cpuQuota(read) ?? cpus)))
}
