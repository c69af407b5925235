/** Programs of the engine's tests that print a line for each case: "ok NAME" or "not ok NAME: WHY". */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'

/** Runs a program and makes a test of each of its lines; `cover` are beginnings of names that must be among them. */
export function testsOf(program: string, options: { arguments?: string[]; timeout?: number; cover: string[] }): void {
  const { stdout, stderr, status, signal } = spawnSync(program, options.arguments ?? [], {
    encoding: 'utf8',
    timeout: options.timeout,
    env: { ...process.env, GOMP_SPINCOUNT: '0', ASAN_OPTIONS: 'hard_rss_limit_mb=2048' },
  })
  const lines = stdout.split('\n').filter((line) => line !== '')
  for (const line of lines) {
    const [, refused, name, reason] = /^(not )?ok ([^:]*(?:: d[xAB])?)(?:: (.*))?$/.exec(line) ?? []
    test(name ?? line, () => assert.ok(name && !refused, reason ?? line))
  }
  test('it ends by itself, with every case', () => {
    assert.deepEqual({ status, signal }, { status: 0, signal: null }, stderr.slice(0, 4000))
    for (const name of options.cover)
      assert.ok(
        lines.some((line) => line.startsWith(`ok ${name}`)),
        name,
      )
  })
}
