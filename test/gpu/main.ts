/**
 * `make gpu`: builds the engine with CUDA's kernels, compares them and whole steps on this machine's GPU with the CPU (under compute-sanitizer, too,
 * where that is installed), and measures, beside PEFT and Unsloth where $PYTHON (python3) has them. Writes gpu.json and gpu.md. Exit status 69
 * (EX_UNAVAILABLE) where there is no GPU to use, 1 when something differs.
 */
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { type DeviceMemory, deviceMemory, gpuReadings, NativeError } from '../../trainer-image/native/index.ts'
import { llama3B, settings } from './benchmark.ts'
import { driverProblem, NEEDED, othersOn } from './driver.ts'
import { page } from './page.ts'
import { isRight, reportOf } from './report.ts'

const root = join(import.meta.dirname, '..', '..')

function unavailable(why: string): never {
  console.error(`${why}; ${NEEDED}`)
  process.exit(69)
}

const problem = driverProblem({
  deviceFile: process.env['NVIDIA_DEVICE_FILE'] ?? '/dev/nvidiactl',
  versionFile: process.env['NVIDIA_VERSION_FILE'] ?? '/proc/driver/nvidia/version',
  libraryPath: process.env['LD_LIBRARY_PATH'] ?? '',
})
if (problem) unavailable(problem)

const built = spawnSync('make', ['-s', 'native-cuda', 'device-ops'], { cwd: root, stdio: 'inherit' })
if (built.status !== 0) process.exit(built.status ?? 1) // make has said why
process.env['HUMANIZER_NATIVE'] = join(root, 'build/cuda/trainer_native.node')
function device(): DeviceMemory {
  try {
    return deviceMemory()
  } catch (error) {
    if (error instanceof NativeError) unavailable(error.message)
    throw error
  }
}
const found = device()
const report = await reportOf({
  gpu: found.name,
  others: othersOn(found, gpuReadings()),
  emulated: false,
  cases: {
    program: join(root, 'build/cuda/device_ops'),
    groups: ['weights', 'elementwise', 'training', 'attention', 'products', 'rows', 'tokens'],
  },
  families: [],
  architecture: llama3B,
  path: 'cuda',
  settings,
  steps: 10,
  threads: availableParallelism(),
  peers: {
    python: process.env['PYTHON'] ?? 'python3',
    settings: settings.filter(
      ({ optimizer, activationCheckpointing }) =>
        optimizer === 'AdamW' && (activationCheckpointing === 'None' || activationCheckpointing === 'Full'),
    ),
    steps: 10,
    device: 'cuda',
  },
})
writeFileSync('gpu.json', `${JSON.stringify(report, null, 2)}\n`)
writeFileSync('gpu.md', page(report))
console.log(page(report))
if (!isRight(report)) process.exitCode = 1
