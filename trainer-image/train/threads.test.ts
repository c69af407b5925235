import assert from 'node:assert/strict'
import { test } from 'node:test'
import { threadsOfQuota } from './threads.ts'

const v1 = '/sys/fs/cgroup/cpu/cpu.cfs_quota_us'
const period = '/sys/fs/cgroup/cpu/cpu.cfs_period_us'
const cases = [
  { quota: 'of two CPUs in cgroup v2', files: { '/sys/fs/cgroup/cpu.max': '200000 100000\n' }, want: 2 },
  { quota: 'of one and a half CPUs', files: { '/sys/fs/cgroup/cpu.max': '150000 100000\n' }, want: 1 },
  { quota: 'below one CPU', files: { '/sys/fs/cgroup/cpu.max': '50000 100000\n' }, want: 1 },
  { quota: '"max"', files: { '/sys/fs/cgroup/cpu.max': 'max 100000\n' }, want: 8 },
  { quota: 'above what the machine has', files: { '/sys/fs/cgroup/cpu.max': '6400000 100000\n' }, want: 8 },
  { quota: 'of three CPUs in cgroup v1', files: { [v1]: '300000\n', [period]: '100000\n' }, want: 3 },
  { quota: '-1 in cgroup v1', files: { [v1]: '-1\n', [period]: '100000\n' }, want: 8 },
  { quota: 'that nobody tells', files: {}, want: 8 },
]
for (const { quota, files, want } of cases)
  test(`a quota ${quota} on 8 CPUs gives ${want} threads`, () =>
    assert.equal(
      threadsOfQuota((path) => (files as Record<string, string>)[path], 8),
      want,
    ))
