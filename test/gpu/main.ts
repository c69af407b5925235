/**
 * `make gpu`: builds the engine with CUDA's kernels, compares it on this machine's GPU with the CPU (under compute-sanitizer, too, where that is
 * installed), and measures. Writes gpu.json and gpu.md. Exit status 69 (EX_UNAVAILABLE) where there is no GPU to use, 1 when something differs.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { deviceMemory, NativeError } from '../../trainer-image/native/index.ts'
import { benchmark, llama3B } from './benchmark.ts'
import { type Comparison, page, peakOf, type Report } from './page.ts'

const root = join(import.meta.dirname, '..', '..')
const NEEDED = 'make gpu needs Linux, an NVIDIA GPU of compute capability 8.0 or newer and its driver, 580 or newer'

function unavailable(why: string): never {
  console.error(`${why}; ${NEEDED}`)
  process.exit(69)
}

const deviceFile = process.env['NVIDIA_DEVICE_FILE'] ?? '/dev/nvidiactl'
if (!existsSync(deviceFile)) unavailable(`${deviceFile}: no such file, so no NVIDIA driver is loaded`)

execFileSync('make', ['-s', 'native-cuda'], { cwd: root, stdio: 'inherit' })
process.env['HUMANIZER_NATIVE'] = join(root, 'build/cuda/trainer_native.node')
try {
  deviceMemory()
} catch (error) {
  if (error instanceof NativeError && error.code === 'DEVICE_UNAVAILABLE') unavailable(error.message)
  throw error
}

const program = join(root, 'test/gpu/parity.ts')
const compared = spawnSync(process.execPath, [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
const parity = compared.stdout
  .split('\n')
  .filter(Boolean)
  .map((line) => JSON.parse(line) as Comparison)
if (compared.status !== 0 && parity.every(({ ok }) => ok)) throw new Error(`${program} ended with ${compared.status}`)

const sanitized = spawnSync('compute-sanitizer', ['--error-exitcode', '99', process.execPath, program], {
  stdio: ['ignore', 'ignore', 'inherit'],
})
const asked = spawnSync('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader'], { encoding: 'utf8' })
const gpu = asked.status === 0 ? asked.stdout.split('\n')[0]! : 'a GPU that nvidia-smi did not name'
const sizes = { sequences: 4, lengths: [1024, 2048], steps: 10, threads: availableParallelism() }
const report: Report = {
  gpu,
  peak: peakOf(gpu),
  parity,
  sanitizer: sanitized.error ? 'not installed' : sanitized.status === 0 ? 'clean' : `exit status ${sanitized.status}`,
  benchmark: await benchmark(llama3B, 'cuda', sizes),
}
writeFileSync('gpu.json', `${JSON.stringify(report, null, 2)}\n`)
writeFileSync('gpu.md', page(report))
console.log(page(report))
if (parity.some(({ ok }) => !ok) || (!sanitized.error && sanitized.status !== 0)) process.exitCode = 1
