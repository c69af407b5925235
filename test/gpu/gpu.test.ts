/** The parts of `make gpu` that need no GPU: how it stops without one, and its comparison and measurement on the CPU's own paths. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { engineInfo } from '../../trainer-image/native/index.ts'
import { oddArchitecture } from '../parity/random-model.ts'
import { benchmark, nameOf } from './benchmark.ts'
import { page } from './page.ts'
import { bounds, compare, families, isWithin } from './parity.ts'
import { isRight, peakOf, type Report } from './report.ts'

const { instructionPath } = engineInfo()

test('without a driver it stops at once and says what is needed', () => {
  const env = { ...process.env, NVIDIA_DEVICE_FILE: '/nonexistent/nvidiactl' }
  const ended = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts')], { encoding: 'utf8', env })
  assert.equal(ended.status, 69)
  assert.match(ended.stderr, /nvidiactl: no such file.*needs Linux, an NVIDIA GPU .* driver, 580 or newer/)
})

for (const [family, architecture] of Object.entries(families))
  test(`${family}: two paths of the processor are within the bounds of f32`, async () => {
    const errors = await compare(architecture, 'baseline', instructionPath)
    assert.ok(isWithin(errors, bounds.f32), JSON.stringify(errors))
  })

test('another model is beyond the bounds of bf16', async () => {
  const errors = await compare(families['Llama']!, 'baseline', instructionPath, 2)
  for (const what of ['loss', 'gradient', 'scores'] as const) assert.ok(errors[what] > bounds.bf16[what], what)
})

test('a small model is measured by setting, and the page has its rows', async () => {
  const setting = { sequences: 2, length: 32, activationCheckpointing: 'None', optimizer: 'AdamW' } as const
  const settings = [setting, { ...setting, activationCheckpointing: 'Full' }] as const
  const { rows, timed } = await benchmark(oddArchitecture, instructionPath, { settings, steps: 3, threads: 1 })
  assert.deepEqual(rows.map(nameOf), ['2 × 32, None, AdamW', '2 × 32, Full, AdamW'])
  // Four operations a weight and token: 3 layers of 40 × (60 + 20 + 20 + 60 + 3 · 72), and the head of 131 × 40.
  const weights = 3 * 40 * (60 + 20 + 20 + 60 + 3 * 72) + 131 * 40
  for (const row of rows) {
    assert.equal(row.stepSeconds.length, 3)
    assert.ok(Math.abs(row.operationsPerSecond / (4 * weights * row.tokensPerSecond) - 1) < 1e-9)
  }
  assert.ok(rows[0]!.peakBytes > rows[1]!.peakBytes, 'recomputation saves memory')
  assert.equal(timed?.ops.find(({ op }) => op === 'swiglu_forward')?.calls, 3)

  const gpu = 'NVIDIA H100 80GB HBM3'
  const report: Report = {
    gpu,
    emulated: false,
    peak: peakOf(gpu),
    kernels: { passed: 3, failed: ['nf4: error 1'] },
    parity: [],
    sanitizer: { memcheck: 'clean' },
    benchmark: {
      rows: [{ ...rows[0]!, tokensPerSecond: 64, operationsPerSecond: 494.5e12, gpuBytes: 2 ** 31 }],
      timed: { setting, seconds: 0.01, ops: [{ op: 'matmul', calls: 4, seconds: 0.008, operations: 4.945e12 }] },
      refused: ['2 × 64, None, AdamW: 8 bytes on the GPU'],
    },
    peers: { steps: [{ peer: 'Unsloth', setting, tokensPerSecond: 50, peakBytes: 2 ** 30 }], absent: [] },
  }
  const text = page(report)
  assert.match(text, /^# NVIDIA H100 80GB HBM3\n/)
  assert.doesNotMatch(text, /emulated/i)
  assert.match(text, /\| 2 × 32 \| nothing \| AdamW \| 64 \| 1000\.0 \| .* \| 2\.00 \| 494\.5 \| 50\.0 % \|/)
  assert.match(text, /^Out of memory: 2 × 64, None, AdamW: 8 bytes on the GPU$/m)
  assert.match(text, /\| `matmul` \| 4 \| 8\.00 \| 100\.0 % \| 618\.1 \| 62\.5 % \|/)
  assert.match(text, /\| Unsloth \| 2 × 32, None, AdamW \| 50 \| 1\.00 \|/)
  assert.match(text, /^\*\*Not as the CPU's\*\*: nf4: error 1$/m)
  const compared = { family: 'Llama', path: 'cuda', ok: true, errors: bounds.bf16, bound: bounds.bf16 }
  const right: Report = { ...report, kernels: { passed: 3, failed: [] }, parity: [compared] }
  assert.equal(isRight(right), true)
  const wrongs: Partial<Report>[] = [
    { kernels: report.kernels },
    { kernels: { passed: 0, failed: [] } },
    { parity: [] },
    { parity: [compared, { ...compared, ok: false }] },
    { sanitizer: { memcheck: 'found errors' } },
  ]
  for (const wrong of wrongs) assert.equal(isRight({ ...right, ...wrong }), false, JSON.stringify(wrong))
  assert.equal(peakOf('NVIDIA T4'), null)
})
