import assert from 'node:assert/strict'
import { test } from 'node:test'
import { availableMemory } from './memory.ts'

const GiB = 2 ** 30
const v2 = (max: string, current: number, inactive = 0) => ({
  '/sys/fs/cgroup/memory.max': `${max}\n`,
  '/sys/fs/cgroup/memory.current': `${current}\n`,
  '/sys/fs/cgroup/memory.stat': `anon 1\nfile 2\ninactive_file ${inactive}\nactive_file 7\n`,
})
const v1 = (limit: string, usage: number, inactive = 0) => ({
  '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${limit}\n`,
  '/sys/fs/cgroup/memory/memory.usage_in_bytes': `${usage}\n`,
  '/sys/fs/cgroup/memory/memory.stat': `inactive_file 1\ntotal_inactive_file ${inactive}\n`,
})
const machine = (available: number) => ({
  '/proc/meminfo': `MemTotal: ${64 * 2 ** 20} kB\nMemFree:  1 kB\nMemAvailable:   ${available / 1024} kB\nBuffers: 5 kB\n`,
})

const cases = [
  {
    where: 'a container with 3 of 8 GiB in use',
    files: { ...machine(32 * GiB), ...v2(`${8 * GiB}`, 3 * GiB) },
    GiB: 5,
  },
  {
    where: 'a container whose use is files that it read once',
    files: { ...machine(32 * GiB), ...v2(`${8 * GiB}`, 7 * GiB, 6 * GiB) },
    GiB: 7,
  },
  { where: 'a machine with less than the limit leaves', files: { ...machine(GiB), ...v2(`${8 * GiB}`, 0) }, GiB: 1 },
  { where: 'a container without a limit', files: { ...machine(20 * GiB), ...v2('max', 3 * GiB) }, GiB: 20 },
  { where: 'cgroup v1', files: { ...machine(32 * GiB), ...v1(`${8 * GiB}`, 5 * GiB, GiB) }, GiB: 4 },
  {
    where: 'cgroup v1 without a limit',
    files: { ...machine(20 * GiB), ...v1('9223372036854771712', 5 * GiB) },
    GiB: 20,
  },
  { where: 'a container that is over its limit', files: { ...machine(32 * GiB), ...v2(`${GiB}`, 2 * GiB) }, GiB: 0 },
  { where: 'a machine without cgroups', files: machine(2 * GiB), GiB: 2 },
]
for (const { where, files, GiB: want } of cases)
  test(`${where}: ${want} GiB are available`, () =>
    assert.equal(availableMemory((path) => (files as Record<string, string>)[path]) / GiB, want))

test('a machine that tells nothing has what its operating system says is free', () =>
  assert.ok(availableMemory(() => undefined) > 0))
