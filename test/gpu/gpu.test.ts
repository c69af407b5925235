/** The parts of `make gpu` that need no GPU: how it stops without one, and its comparison and measurement on the CPU's own paths. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { engineInfo } from '../../trainer-image/native/index.ts'
import { oddArchitecture } from '../parity/random-model.ts'
import { benchmark, nameOf } from './benchmark.ts'
import { driverProblem, othersOn } from './driver.ts'
import { page } from './page.ts'
import { bounds, compare, families, isWithin, otherBits, written } from './parity.ts'
import { isRight, peakOf, type Report } from './report.ts'

const { instructionPath } = engineInfo()

test('without a driver it stops at once and says what is needed', () => {
  const env = { ...process.env, NVIDIA_DEVICE_FILE: '/nonexistent/nvidiactl' }
  const ended = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts')], { encoding: 'utf8', env })
  assert.equal(ended.status, 69)
  assert.match(ended.stderr, /nvidiactl: no such file.*needs Linux, an NVIDIA GPU .* driver, 580 or newer/)
})

test('a driver that is too old is told before anything is compiled, but for a compatibility package', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'driver-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const at = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const deviceFile = at('nvidiactl', '')
  const closed = at(
    'closed',
    'NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n',
  )
  const open = at('open', 'NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n')
  const machine = { deviceFile, versionFile: open, libraryPath: '' }
  assert.equal(driverProblem(machine), undefined)
  assert.equal(driverProblem({ ...machine, versionFile: join(folder, 'absent') }), undefined)
  const old = { ...machine, versionFile: closed, libraryPath: `/nonexistent:${folder}` }
  assert.match(driverProblem(old)!, /closed says driver 535\.104\.05: update it, or, .* cuda-compat-13-0/)
  at('libcuda.so.1', '')
  assert.equal(driverProblem(old), undefined)

  const env = { ...process.env, NVIDIA_DEVICE_FILE: deviceFile, NVIDIA_VERSION_FILE: closed, LD_LIBRARY_PATH: '' }
  const ended = spawnSync(process.execPath, [join(import.meta.dirname, 'main.ts')], { encoding: 'utf8', env })
  assert.equal(ended.status, 69)
  assert.match(ended.stderr, /says driver 535.*needs Linux/)
})

test('others on the GPU are told: by the memory that they hold, or by what it computes', () => {
  const [freeBytes, totalBytes] = [79 * 2 ** 30, 80 * 2 ** 30]
  const device = { name: '', freeBytes, totalBytes }
  assert.equal(othersOn(device, undefined), null)
  assert.equal(othersOn(device, { utilizationPercent: 3 }), null)
  assert.match(othersOn(device, { utilizationPercent: 98 })!, /^1024 of 81920 MiB were taken and 98 %/)
  assert.match(othersOn({ ...device, freeBytes: 40 * 2 ** 30 }, {})!, /^40960 of 81920 MiB were taken and 0 %/)
})

for (const [family, architecture] of Object.entries(families))
  test(`${family}: two paths of the processor are within the bounds of f32`, async () => {
    const errors = await compare(architecture, 'baseline', instructionPath)
    assert.ok(isWithin(errors, bounds.f32), JSON.stringify(errors))
  })

test('every policy of recomputation gives the same bits, and two paths of the processor the same tokens', async () => {
  const { Qwen2 } = families
  assert.deepEqual(await otherBits(Qwen2!, instructionPath), [])
  const tokens = await written(Qwen2!, instructionPath)
  assert.deepEqual([tokens.length, await written(Qwen2!, 'baseline')], [8, tokens])
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
    others: null,
    emulated: false,
    peak: peakOf(gpu),
    kernels: { passed: 3, failed: ['nf4: error 1'] },
    parity: [],
    parityProblem: null,
    sanitizer: { memcheck: 'clean' },
    benchmark: {
      rows: [{ ...rows[0]!, tokensPerSecond: 64, operationsPerSecond: 494.5e12, gpuBytes: 2 ** 31 }],
      timed: { setting, seconds: 0.01, ops: [{ op: 'matmul', calls: 4, seconds: 0.008, operations: 4.945e12 }] },
      refused: ['2 × 64, None, AdamW: 8 bytes on the GPU'],
      failed: null,
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
  const compared = { family: 'Llama', path: 'cuda', ok: true, errors: bounds.bf16, bound: bounds.bf16, differ: [] }
  const right: Report = { ...report, kernels: { passed: 3, failed: [] }, parity: [compared] }
  assert.equal(isRight(right), true)
  const wrongs: Partial<Report>[] = [
    { kernels: report.kernels },
    { kernels: { passed: 0, failed: [] } },
    { parity: [] },
    { parity: [compared, { ...compared, ok: false }] },
    { sanitizer: { memcheck: 'found errors' } },
    { parityProblem: 'parity.ts ended with SIGSEGV' },
    { benchmark: { ...report.benchmark, failed: '2 × 64, None, AdamW: the GPU is lost' } },
  ]
  for (const wrong of wrongs) assert.equal(isRight({ ...right, ...wrong }), false, JSON.stringify(wrong))
  assert.equal(peakOf('NVIDIA T4'), null)
  assert.equal(peakOf('NVIDIA H100 80GB HBM3 MIG 1g.10gb'), null)
  const ended = page({ ...report, others: '40000 of 81559 MiB were taken', ...wrongs.at(-2), ...wrongs.at(-1) })
  assert.match(ended, /^\*\*Not alone\*\*: 40000 of 81559 MiB were taken; times/m)
  assert.match(ended, /^\*\*Ended early\*\*: parity\.ts ended with SIGSEGV$/m)
  assert.match(ended, /^\*\*Ended early\*\*: 2 × 64, None, AdamW: the GPU is lost$/m)
})
