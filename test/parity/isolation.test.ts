import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const build = fileURLToPath(new URL('../../build/native/CMakeFiles', import.meta.url))
/** nm's letters for what the linker keeps one copy of: weak functions and objects, unique globals. */
const SHARED = /^[0-9a-f]* +([WVu]) (.+)$/
/** The address of the routine that unwinds exceptions: the same in all of them, and no code. */
const DATA = 'DW.ref.__gxx_personality_v0'

for (const path of ['baseline', 'avx2', 'avx512', 'avx512_bf16'])
  test(`no code of the ${path} path is shared with another path or with the engine`, () => {
    const objects = globSync(`${build}/ops_${path}.dir/*.o`)
    assert.ok(objects.length >= 11, `${objects.length} objects`)
    const shared = execFileSync('nm', ['--defined-only', ...objects], { encoding: 'utf8' })
      .split('\n')
      .flatMap((line) => SHARED.exec(line)?.[2] ?? [])
      .filter((symbol) => symbol !== DATA)
    assert.deepEqual(shared, [])
  })
