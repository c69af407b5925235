import { freemem } from 'node:os'
import { type ReadText, readText } from './threads.ts'

const V1 = '/sys/fs/cgroup/memory'
const V2 = '/sys/fs/cgroup'

/**
 * Bytes that this process can still take before something is killed for them: what the container's limit leaves (cgroup v2 or v1) and what
 * the machine has, whichever is less. Cached files that nobody uses now are counted as free in both, since the kernel drops them first.
 */
export function availableMemory(read: ReadText = readText): number {
  return Math.max(0, Math.min(leftOfLimit(read) ?? Number.POSITIVE_INFINITY, ofMachine(read)))
}

/** undefined without a limit. */
function leftOfLimit(read: ReadText): number | undefined {
  const unified = read(`${V2}/memory.max`)
  const limit = bytesOf(unified ?? read(`${V1}/memory.limit_in_bytes`))
  if (limit === undefined || limit >= 2 ** 60) return undefined // v2 says "max", v1 a huge number
  const [used, cached] =
    unified === undefined
      ? [read(`${V1}/memory.usage_in_bytes`), field(read(`${V1}/memory.stat`), 'total_inactive_file')]
      : [read(`${V2}/memory.current`), field(read(`${V2}/memory.stat`), 'inactive_file')]
  return limit - ((bytesOf(used) ?? 0) - (bytesOf(cached) ?? 0))
}

function ofMachine(read: ReadText): number {
  const kilobytes = bytesOf(field(read('/proc/meminfo'), 'MemAvailable:')?.replace(' kB', ''))
  return kilobytes === undefined ? freemem() : kilobytes * 1024
}

/** What stands behind a name at the beginning of a line. */
const field = (text: string | undefined, name: string): string | undefined =>
  text
    ?.split('\n')
    .find((line) => line.startsWith(`${name} `))
    ?.slice(name.length)

function bytesOf(text: string | undefined): number | undefined {
  const bytes = Number(text?.trim() || Number.NaN)
  return Number.isFinite(bytes) && bytes >= 0 ? bytes : undefined
}
