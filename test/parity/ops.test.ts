import { suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import { testsOf } from './program.ts'

// ops.cc and the files beside it, compiled with the engine: every operation on every instruction path that this processor has.
suite('operations', () =>
  testsOf(fileURLToPath(new URL('../../build/native/parity_ops', import.meta.url)), { cover: ['baseline attention'] }))
