import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'

// ops.cc, compiled with the engine: every operation on every instruction path that this processor has.
const program = fileURLToPath(new URL('../../build/native/parity_ops', import.meta.url))

suite('operations', () => {
  const lines = execFileSync(program, { encoding: 'utf8', env: { ...process.env, GOMP_SPINCOUNT: '2000' } })
    .trim()
    .split('\n')
  for (const line of lines) {
    const [, refused, name, reason] = /^(not )?ok ([^:]*(?:: d[xAB])?)(?:: (.*))?$/.exec(line) ?? []
    test(name ?? line, () => assert.ok(name && !refused, reason ?? line))
  }
  test('cover at least the baseline', () => assert.ok(lines.some((line) => line.startsWith('ok baseline attention'))))
})
