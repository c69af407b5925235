import assert from 'node:assert/strict'
import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { engineInfo, type GpuReadings, gpuReadings } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'nvml-'))
after(() => rmSync(folder, { recursive: true }))

/*
 * Stands for NVIDIA's library: the same symbols, signatures and codes, written from the API reference. It answers only after nvmlInit_v2 and
 * for the handle it gave out, with values that would not fit a wrong struct. Parts are broken by -D.
 */
const standIn = `
typedef int nvmlReturn_t;
typedef struct nvmlDevice_st { int here; } *nvmlDevice_t;
typedef struct { unsigned int gpu, memory; } nvmlUtilization_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
enum { NVML_SUCCESS = 0, NVML_ERROR_UNINITIALIZED = 1, NVML_ERROR_INVALID_ARGUMENT = 2, NVML_ERROR_NOT_SUPPORTED = 3,
  NVML_ERROR_NOT_FOUND = 6, NVML_ERROR_GPU_IS_LOST = 15, NVML_ERROR_LIB_RM_VERSION_MISMATCH = 18 };
static struct nvmlDevice_st device;
static int initialized;
#define DEVICE(given) if (!initialized) return NVML_ERROR_UNINITIALIZED; if ((given) != &device) return NVML_ERROR_INVALID_ARGUMENT
nvmlReturn_t nvmlInit_v2(void) {
#ifdef OLD_DRIVER
  return NVML_ERROR_LIB_RM_VERSION_MISMATCH;
#endif
  initialized = 1;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *out) {
  if (!initialized) return NVML_ERROR_UNINITIALIZED;
  if (index != 0) return NVML_ERROR_NOT_FOUND;
  *out = &device;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *address, nvmlDevice_t *out) {
  if (!initialized) return NVML_ERROR_UNINITIALIZED;
  *out = &device; /* means nothing after an error */
  return __builtin_strcmp(address, "0000:41:00.0") ? NVML_ERROR_NOT_FOUND : NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t given, nvmlUtilization_t *out) {
  DEVICE(given);
#ifdef NO_UTILIZATION
  return NVML_ERROR_NOT_SUPPORTED;
#endif
  out->gpu = 97, out->memory = 41;
  return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t given, nvmlMemory_t *out) {
  DEVICE(given);
#ifdef LOST
  return NVML_ERROR_GPU_IS_LOST;
#endif
  out->total = 85899345920ull, out->free = 80530636800ull, out->used = 5368709120ull;
  return NVML_SUCCESS;
}
#ifndef NO_POWER
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t given, unsigned int *milliwatts) {
  DEVICE(given);
  *milliwatts = 312500;
  return NVML_SUCCESS;
}
#endif
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t given, int sensor, unsigned int *celsius) {
  DEVICE(given);
  if (sensor != 0) return NVML_ERROR_INVALID_ARGUMENT;
  *celsius = 64;
  return NVML_SUCCESS;
}
#ifndef NO_WORDS
const char *nvmlErrorString(nvmlReturn_t result) {
  return result == NVML_ERROR_NOT_SUPPORTED ? "Not Supported" : result == NVML_ERROR_LIB_RM_VERSION_MISMATCH ? "Driver/library version mismatch" : "Unknown Error";
}
#endif
`

/** The folder of a library, compiled once with these parts broken. */
function library(...broken: string[]): string {
  const at = join(folder, broken.join('-') || 'whole')
  if (existsSync(at)) return at
  mkdirSync(at)
  const parts = broken.map((part) => `-D${part}`)
  execFileSync('gcc', ['-shared', '-fPIC', '-w', ...parts, '-xc', '-', '-o', join(at, 'libnvidia-ml.so.1')], {
    input: standIn,
  })
  return at
}

/** What a process reads that finds the library in this folder; it asks twice, since the library is loaded once. */
async function readingsWith(libraries: string): Promise<GpuReadings | null> {
  const engine = JSON.stringify(fileURLToPath(new URL('index.ts', import.meta.url)))
  const program = `import { gpuReadings } from ${engine}
    const [first, second] = [gpuReadings(), gpuReadings()]
    console.log(JSON.stringify({ first: first ?? null, second: second ?? null }))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', program], {
    env: { ...process.env, LD_LIBRARY_PATH: libraries },
  })
  const { first, second } = JSON.parse(stdout) as Record<'first' | 'second', GpuReadings | null>
  assert.deepEqual(first, second)
  return first
}

const memory = { memoryUsedBytes: 5 * 2 ** 30, memoryTotalBytes: 80 * 2 ** 30 }
const power = { powerWatts: 312.5 }
const temperature = { temperatureCelsius: 64 }
const cases: { title: string; broken: string[]; told: GpuReadings }[] = [
  { title: 'all figures', broken: [], told: { utilizationPercent: 97, ...memory, ...power, ...temperature } },
  {
    title: 'no figure whose function is missing or refuses, and why the first is missing',
    broken: ['NO_UTILIZATION', 'NO_POWER'],
    told: { ...memory, ...temperature, problem: 'nvmlDeviceGetUtilizationRates: Not Supported' },
  },
  {
    title: 'which function an older library has not',
    broken: ['NO_POWER'],
    told: {
      utilizationPercent: 97,
      ...memory,
      ...temperature,
      problem: 'nvmlDeviceGetPowerUsage: not in libnvidia-ml.so.1',
    },
  },
  {
    title: 'the code of a failure for which the library has no words',
    broken: ['LOST', 'NO_WORDS'],
    told: { utilizationPercent: 97, ...power, ...temperature, problem: 'nvmlDeviceGetMemoryInfo: error 15' },
  },
  {
    title: 'nothing but why, where the driver does not fit the library',
    broken: ['OLD_DRIVER'],
    told: { problem: 'nvmlInit_v2: Driver/library version mismatch' },
  },
]

const hasDriver = existsSync('/dev/nvidiactl')
// There an engine with the kernels asks for the address of CUDA's device, which the stand-in does not have.
const skip = hasDriver && engineInfo().cuda && 'CUDA has a device'

suite('the readings have', { skip, concurrency: true }, () => {
  for (const { title, broken, told } of cases)
    test(title, async () => assert.deepEqual(await readingsWith(library(...broken)), told))
})

test('where CUDA has a device, the one of its PCI address is asked, and no other in its place', () => {
  const program = join(folder, 'by-address')
  // Stands for cuda_bus_id.cc, which needs a device.
  const main = `#include <cstdio>
    #include <cstdlib>
    #include "nvml.h"
    std::string humanizer::cuda_bus_id() { return getenv("ADDRESS"); }
    int main() {
      const auto readings = humanizer::gpu_readings();
      printf("%g %s", readings->power_watts.value_or(-1), readings->problem.c_str());
    }`
  const native = fileURLToPath(new URL('.', import.meta.url))
  const sources = [join(native, 'nvml.cc'), '-xc++', '-']
  execFileSync('g++', ['-std=c++20', '-I', native, ...sources, '-o', program], { input: main })
  const libraries = library()
  const told = (address: string) =>
    execFileSync(program, { encoding: 'utf8', env: { ADDRESS: address, LD_LIBRARY_PATH: libraries } })
  assert.equal(told('0000:41:00.0'), '312.5 ')
  assert.equal(told('0000:42:00.0'), '-1 nvmlDeviceGetHandleByPciBusId_v2: Unknown Error')
})

test('a library that cannot be loaded gives no readings', async () => {
  const at = join(folder, 'damaged')
  mkdirSync(at)
  writeFileSync(join(at, 'libnvidia-ml.so.1'), 'no library')
  assert.equal(await readingsWith(at), null)
})

test('nor does a machine without the library', { skip: hasDriver && 'there is a driver' }, () =>
  assert.equal(gpuReadings(), undefined),
)
