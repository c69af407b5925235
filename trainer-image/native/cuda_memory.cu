// The device's memory as the engine asks for it (memory.h).
#include "cuda.h"
#include "cuda_error.h"
#include "cuda_memory.h"
#include "cuda_stream.cuh"

namespace humanizer {
namespace cuda {

namespace {

void* allocate(size_t bytes, bool zeroed) {
  void* block = nullptr;
  if (const cudaError_t status = cudaMalloc(&block, bytes); status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(Code::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes on the GPU: " +
                                        std::to_string(free) + " of " + std::to_string(total) + " are free");
  } else {
    expect(status, "cudaMalloc");
  }
  if (!zeroed) return block;
  expect(cudaMemsetAsync(block, 0, bytes, stream()), "cudaMemsetAsync");
  stream().wait();  // another thread's stream may be the first to use it
  return block;
}

// Throws nothing: what fails here has failed before.
void release(void* block, size_t) {
  cudaStreamSynchronize(stream());
  cudaFree(block);
}

void zero(void* to, size_t bytes) { expect(cudaMemsetAsync(to, 0, bytes, stream()), "cudaMemsetAsync"); }
void copy(void* to, const void* from, size_t bytes) {
  expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
}
void upload(void* to, const void* host, size_t bytes) { stream().upload(to, host, bytes); }
void download(void* host, const void* from, size_t bytes) { stream().download(host, from, bytes); }

}  // namespace

const Memory kDeviceMemory = {allocate, release, zero, copy, upload, download};

const Memory kPinnedMemory = {
    .allocate = [](size_t bytes, bool zeroed) -> void* {
      void* block = nullptr;
      if (const cudaError_t status = cudaMallocHost(&block, bytes); status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        throw Error(Code::kOutOfMemory, "cannot pin " + std::to_string(bytes) + " bytes of the host's memory");
      } else {
        expect(status, "cudaMallocHost");
      }
      if (zeroed) kHostMemory.zero(block, bytes);
      return block;
    },
    .release = [](void* block, size_t) { cudaFreeHost(block); },
    .zero = kHostMemory.zero,
    .copy = kHostMemory.copy,
    .upload = kHostMemory.upload,
    .download = kHostMemory.download,
};

// Throws what stands in the way of using the first device.
void open_device() {
  int devices = 0, major = 0;
  expect(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  expect(cudaSetDevice(0), "cudaSetDevice");
  expect(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0), "cudaDeviceGetAttribute");
  if (major < kOldestCapability) expect(cudaErrorNoKernelImageForDevice, "compute capability");
}

}  // namespace cuda

DeviceMemory device_memory() {
  cuda::open_device();
  size_t free = 0, total = 0;
  cuda::expect(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  cudaDeviceProp properties;
  cuda::expect(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total), properties.name};
}

}  // namespace humanizer
