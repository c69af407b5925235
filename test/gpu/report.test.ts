/** The whole of `make gpu` behind its look for a driver, on the emulated device and at the smallest sizes. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { oddArchitecture } from '../parity/random-model.ts'
import type { Setting } from './benchmark.ts'
import { page } from './page.ts'
import { isRight, type Report, reportOf } from './report.ts'

const build = join(import.meta.dirname, '../../build/native')
process.env['HUMANIZER_NATIVE'] = join(build, 'emulated_native.node') // before the engine is loaded; parity.ts inherits it

const small: Setting = { sequences: 1, length: 8, activationCheckpointing: 'None', optimizer: 'AdamW' }
const goal = { tokensPerSecond: 25_000, gib: 4.6 }

test('on the emulated device it compares, measures, and its page says that it was emulated', async () => {
  const report: Report = await reportOf({
    gpu: 'stand-in of test/cuda',
    others: null,
    emulated: true,
    cases: { program: join(build, 'cuda_ops'), groups: ['rows'] },
    families: ['Qwen2'],
    architecture: { ...oddArchitecture, headSize: 8, layers: 1 },
    path: 'cuda',
    settings: [
      { ...small, goal },
      { ...small, activationCheckpointing: 'Full', optimizer: 'AdamW8bit' },
    ],
    steps: 1,
    threads: 1,
    peers: { python: '/nonexistent/python3', settings: [small], steps: 1, device: 'cpu' },
  })
  assert.deepEqual(JSON.parse(JSON.stringify(report)), report)
  assert.ok(isRight(report), JSON.stringify(report.kernels.failed))
  assert.ok(report.kernels.passed > 10, `${report.kernels.passed} cases`)
  assert.deepEqual(
    report.parity.map(({ family, path }) => `${family} ${path}`),
    ['Qwen2 cuda_f32', 'Qwen2 cuda'],
  )
  assert.deepEqual(report.benchmark.refused, [])
  for (const row of report.benchmark.rows) assert.ok(row.peakBytes > 0 && row.tokensPerSecond > 0)

  // Every operation of a step by its name, those of the layer once each.
  const times = new Map(report.benchmark.timed?.ops.map((op) => [op.op, op]))
  for (const op of ['attend', 'attend_backward', 'swiglu_backward', 'adamw_update', 'gradient_norm', 'embedding'])
    assert.equal(times.get(op)?.calls, 1, op)
  assert.equal(times.get('lora_backward')?.calls, 7)
  const pairs = (8 * 9) / 2
  assert.equal(times.get('attend')?.operations, 2 * 2 * pairs * oddArchitecture.heads * 8)
  const total = [...times.values()].reduce((sum, { seconds }) => sum + seconds, 0)
  assert.ok(total > 0 && total < report.benchmark.timed!.seconds, 'the operations are within their step')

  const text = page(report)
  assert.match(text, /^# stand-in of test\/cuda \(emulated\)\n\n\*\*Emulated\*\*: a CPU ran the kernels/)
  assert.doesNotMatch(text, /measured/i)
  assert.match(text, /\| 1 × 8 \| nothing \| AdamW \| .* \| card not known \| 25000 tokens\/s, 4.6 GiB \|/)
  assert.match(text, /\| 1 × 8 \| all \| AdamW8bit \|/)
  assert.match(text, /\| `attend` \| 1 \|/)
  assert.match(text, /^Not run: PEFT \+ bitsandbytes: spawnSync \/nonexistent\/python3 ENOENT$/m)
  assert.match(text, /^Not run: Unsloth: /m)
  assert.match(
    text,
    /cases of the kernels are as the CPU's, 0 are not\. compute-sanitizer over them: memcheck not installed, racecheck/,
  )
  assert.match(text, /\| Qwen2 \| cuda \| .* \| ok \|/)
})
