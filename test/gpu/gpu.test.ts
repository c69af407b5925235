/** The parts of `make gpu` that need no GPU: how it stops without one, and its comparison and measurement on the CPU's own paths. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { engineInfo } from '../../trainer-image/native/index.ts'
import { oddArchitecture } from '../parity/random-model.ts'
import { benchmark } from './benchmark.ts'
import { page, peakOf } from './page.ts'
import { bounds, compare, families, isWithin } from './parity.ts'

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

test('a small model is measured, and the page has its rows', async () => {
  const options = { sequences: 2, lengths: [16, 32], steps: 3, threads: 1 }
  const { rows } = await benchmark(oddArchitecture, instructionPath, options)
  assert.deepEqual(
    rows.map(({ length, activationCheckpointing }) => `${length} ${activationCheckpointing}`),
    ['16 None', '16 Full', '32 None', '32 Full'],
  )
  // Four operations a weight and token: 3 layers of 40 × (60 + 20 + 20 + 60 + 3 · 72), and the head of 131 × 40.
  const weights = 3 * 40 * (60 + 20 + 20 + 60 + 3 * 72) + 131 * 40
  for (const row of rows) {
    assert.equal(row.stepSeconds.length, 3)
    assert.ok(Math.abs(row.operationsPerSecond / (4 * weights * row.tokensPerSecond) - 1) < 1e-9)
  }
  assert.ok(rows[2]!.peakBytes > rows[3]!.peakBytes, 'recomputation saves memory')

  const report = { gpu: 'NVIDIA H100 80GB HBM3', parity: [], sanitizer: 'not installed' } as const
  const measured = { ...rows[0]!, tokensPerSecond: 32, operationsPerSecond: 494.5e12 }
  const text = page({
    ...report,
    peak: peakOf(report.gpu),
    benchmark: { rows: [measured], refused: ['2 × 32, None: 8 bytes on the GPU'] },
  })
  assert.match(text, /\| 2 × 16 \| nothing \| 32 \| 1000\.0 \| .* \| 494\.5 \| 50\.0 % \|/)
  assert.match(text, /^Out of memory: 2 × 32, None: 8 bytes on the GPU$/m)
  assert.equal(peakOf('NVIDIA T4'), null)
})
