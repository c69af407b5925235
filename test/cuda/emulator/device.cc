#include "device.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "block.h"
#include "emulator.h"
#include "entry.h"
#include "failure.h"
#include "limits.h"
#include "memory.h"
#include "random.h"
#include "running.h"
#include "sparse.h"

namespace emulated_cuda {
namespace {

constexpr size_t kKiB = 1024;
constexpr Architecture kArchitectures[] = {
    {80, 163 * kKiB, 164 * kKiB, 2048, 32},  {86, 99 * kKiB, 100 * kKiB, 1536, 16},
    {89, 99 * kKiB, 100 * kKiB, 1536, 24},   {90, 227 * kKiB, 228 * kKiB, 2048, 32},
    {100, 227 * kKiB, 228 * kKiB, 2048, 32}, {120, 99 * kKiB, 100 * kKiB, 1536, 24},
};

const Architecture* chosen = &kArchitectures[1];  // the one with the least
cudaError_t state = cudaSuccess, last_error = cudaSuccess;
int device_count = 1, driver_version = 13000, claimed = 0;
uint32_t sparse = 0;
uint64_t kernels = 0;

// The blocks to run, in the order in which they run.
std::vector<uint64_t> blocks_of(uint64_t total) {
  std::vector<uint64_t> blocks;
  if (sparse == 0 || total <= sparse + 2) {
    blocks.resize(total);
    std::iota(blocks.begin(), blocks.end(), uint64_t{0});
  } else {
    blocks = {0, total - 1};
    for (uint32_t i = 0; i < sparse; ++i) blocks.push_back(1 + order.random.next() % (total - 2));
  }
  if (order.turns == Turns::Backward) std::reverse(blocks.begin(), blocks.end());
  if (order.turns >= Turns::Eager) order.random.shuffle(blocks.data(), static_cast<uint32_t>(blocks.size()));
  return blocks;
}

}  // namespace

const Architecture& architecture() { return *chosen; }
cudaError_t device_state() {
  if (state != cudaSuccess) return state;
  if (driver_version < 13000) return cudaErrorInsufficientDriver;  // too old, or none at all (0)
  return device_count == 0 ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}
uint32_t sparse_blocks() { return sparse; }

void set_seed(uint64_t seed) {
  order.seed = seed;
  order.turns = static_cast<Turns>(seed % 4);
  order.random = Random(seed);
}
void set_architecture(int capability) {
  for (const Architecture& candidate : kArchitectures)
    if (candidate.capability == capability) {
      chosen = &candidate;
      return;
    }
  fail("architecture %d is none of those that the engine is compiled for", capability);
}
void set_sparse(uint32_t blocks) { sparse = blocks; }
void break_device(cudaError_t error) { state = error; }
void set_driver(int devices, int version) {
  device_count = devices;
  driver_version = version;
}
void claim_capability(int capability) { claimed = capability; }
uint64_t kernels_run() { return kernels; }

void expect_launchable(const Launch& launch) {
  const dim3 grid = launch.grid, block = launch.block;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  set_running_kernel(launch.kernel);
  if (threads == 0 || threads > 1024 || block.z > 64)
    fail("a block of %u x %u x %u threads; a device takes 1024, 64 of them in z", block.x, block.y, block.z);
  if (grid.x > 0x7FFFFFFFu || grid.y > 65535 || grid.z > 65535)
    fail("a grid of %u x %u x %u blocks; a device takes 2147483647 x 65535 x 65535", grid.x, grid.y, grid.z);
  if (launch.shared_bytes > chosen->shared_per_block)
    fail("%zu bytes of shared memory; a block of compute capability %d.%d has %zu", launch.shared_bytes,
         chosen->capability / 10, chosen->capability % 10, chosen->shared_per_block);
  expect_within_limits(launch);
  set_running_kernel(nullptr);
}

void run_kernel(const Launch& launch) {
  ++kernels;
  set_running_kernel(launch.kernel);
  gridDim = launch.grid;
  blockDim = launch.block;
  {
    const SharedMemory shared(launch.shared_bytes);
    const auto entry = [](void* thread) { (*static_cast<const std::function<void()>*>(thread))(); };
    for (const uint64_t index : blocks_of(uint64_t{gridDim.x} * gridDim.y * gridDim.z)) {
      blockIdx = {static_cast<unsigned>(index % gridDim.x), static_cast<unsigned>(index / gridDim.x % gridDim.y),
                  static_cast<unsigned>(index / gridDim.x / gridDim.y)};
      shared.poison();
      run_block(entry, const_cast<std::function<void()>*>(&launch.thread));
    }
  }
  expect_guards_intact();
  set_running_kernel(nullptr);
}

void expect_device_pointers(const Launch& launch, const void* value, size_t bytes) {
  constexpr uintptr_t kLowest = 0x10000, kHighest = uintptr_t{1} << 47, kPage = 4096;
  for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t)) {
    uintptr_t word;
    std::memcpy(&word, static_cast<const char*>(value) + at, sizeof word);
    if (word < kLowest || word >= kHighest) continue;
    const auto* address = reinterpret_cast<const void*>(word);
    if (is_device(address) || is_pinned(address, 1)) continue;
    unsigned char resident;
    if (mincore(reinterpret_cast<void*>(word / kPage * kPage), 1, &resident) != 0) continue;  // no address at all
    set_running_kernel(launch.kernel);
    fail("an argument is the address %p of the host's memory, or of freed memory of the device", address);
  }
}

}  // namespace emulated_cuda

using namespace emulated_cuda;

void __trap() { fail("__trap()"); }

cudaError_t cudaGetDeviceCount(int* count) {
  const Entry entry;
  *count = 0;
  if (const cudaError_t broken = device_state(); broken != cudaSuccess) return answer(broken);
  *count = device_count;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  const Entry entry;
  if (const cudaError_t broken = device_state(); broken != cudaSuccess) return answer(broken);
  return answer(device >= 0 && device < device_count ? cudaSuccess : cudaErrorInvalidDevice);
}
cudaError_t cudaGetDevice(int* device) {
  const Entry entry;
  *device = 0;
  return answer(device_state());
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  const Entry entry;
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess) return error;
  size_t free, total;
  cudaMemGetInfo(&free, &total);
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated %d.%d", chosen->capability / 10,
                chosen->capability % 10);
  properties->totalGlobalMem = total;
  const int capability = claimed > 0 ? claimed : chosen->capability;
  properties->major = capability / 10;
  properties->minor = capability % 10;
  properties->multiProcessorCount = 4;
  properties->sharedMemPerBlock = 48 * kKiB;
  properties->sharedMemPerBlockOptin = chosen->shared_per_block;
  properties->sharedMemPerMultiprocessor = chosen->shared_per_multiprocessor;
  properties->maxThreadsPerBlock = 1024;
  properties->maxThreadsPerMultiProcessor = chosen->threads_per_multiprocessor;
  properties->regsPerMultiprocessor = 65536;
  properties->l2CacheSize = 4 << 20;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  const Entry entry;
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      return cudaSuccess;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(properties.sharedMemPerMultiprocessor);
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      return cudaSuccess;
  }
  return answer(cudaErrorInvalidValue);
}
cudaError_t cudaDriverGetVersion(int* version) {
  const Entry entry;
  *version = driver_version;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  const Entry entry;
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaDeviceReset() { return cudaDeviceSynchronize(); }
cudaError_t cudaPeekAtLastError() { return state != cudaSuccess ? state : last_error; }
cudaError_t cudaGetLastError() {
  const Entry entry;
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}

namespace {
struct Word {
  cudaError_t error;
  const char* name;
  const char* sentence;
};
#define WORD(name, sentence) \
  { name, #name, sentence }
constexpr Word kWords[] = {
    WORD(cudaSuccess, "no error"),
    WORD(cudaErrorInvalidValue, "invalid argument"),
    WORD(cudaErrorMemoryAllocation, "out of memory"),
    WORD(cudaErrorInitializationError, "initialization error"),
    WORD(cudaErrorInvalidConfiguration, "invalid configuration argument"),
    WORD(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version"),
    WORD(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable"),
    WORD(cudaErrorNoDevice, "no CUDA-capable device is detected"),
    WORD(cudaErrorInvalidDevice, "invalid device ordinal"),
    WORD(cudaErrorDeviceUninitialized, "invalid device context"),
    WORD(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device"),
    WORD(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered"),
    WORD(cudaErrorInvalidResourceHandle, "invalid resource handle"),
    WORD(cudaErrorNotReady, "device not ready"),
    WORD(cudaErrorIllegalAddress, "an illegal memory access was encountered"),
    WORD(cudaErrorLaunchFailure, "unspecified launch failure"),
    WORD(cudaErrorNotSupported, "operation not supported"),
    WORD(cudaErrorSystemDriverMismatch, "system has unsupported display driver / cuda driver combination"),
    WORD(cudaErrorStreamCaptureUnsupported, "operation not permitted when stream is capturing"),
    WORD(cudaErrorStreamCaptureInvalidated, "operation failed due to a previous error during capture"),
    WORD(cudaErrorStreamCaptureUnmatched, "operation would result in a merge of separate capture sequences"),
    WORD(cudaErrorStreamCaptureUnjoined, "capturing stream has unjoined work"),
};
#undef WORD
const Word& word(cudaError_t error) {
  for (const Word& candidate : kWords)
    if (candidate.error == error) return candidate;
  static constexpr Word unknown{cudaSuccess, "unrecognized error code", "unrecognized error code"};
  return unknown;
}
}  // namespace

const char* cudaGetErrorName(cudaError_t error) { return word(error).name; }
const char* cudaGetErrorString(cudaError_t error) { return word(error).sentence; }
