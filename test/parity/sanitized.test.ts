/** The engine's programs under AddressSanitizer and UndefinedBehaviorSanitizer, in a build folder of their own. */
import { execFileSync } from 'node:child_process'
import { suite } from 'node:test'
import { fileURLToPath } from 'node:url'
import { testsOf } from './program.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
execFileSync('make', ['sanitized'], { cwd: root, stdio: 'inherit' })
const program = (name: string): string => `${root}build/sanitized/${name}`

suite('operations, sanitized', () => testsOf(program('parity_ops'), { cover: ['baseline attention'] }))

suite('what the system refuses, sanitized', () =>
  testsOf(program('engine_faults'), {
    cover: ['a model', 'a sequence', 'a text', 'a step', 'loading', 'near duplicates'],
  }))

suite('random models, sanitized', () =>
  testsOf(program('engine_fuzz'), {
    arguments: ['250', '1'],
    cover: ['broken CSV', 'near duplicates', 'broken tensors', 'broken models and batches'],
  }))
