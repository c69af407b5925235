// What of CUDA is no plain C++: starting a kernel, its dynamic shared memory and the errors of the runtime. test/cuda/
// has a header of this name that runs the same kernels on the CPU, and is found first there: hence <launch.cuh>, never
// "".
//
// A kernel's signature is the only place where its parameters' types stand: launch converts to them, as a call would.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <tuple>
#include <utility>

#include "error.h"

namespace humanizer::cuda {

// Throws Error: kOutOfMemory for the device's memory, else kInternal, naming the call and CUDA's word for what went
// wrong.
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // one that is not sticky must not be found again by the next call
  throw Error(status == cudaErrorMemoryAllocation ? Code::kOutOfMemory : Code::kInternal,
              std::string(call) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status));
}

// The block's dynamic shared memory, aligned to 16 bytes.
template <class T>
__device__ inline T* dynamic_shared() {
  extern __shared__ __align__(16) unsigned char dynamic_shared_memory[];
  return reinterpret_cast<T*>(dynamic_shared_memory);
}

// A grid without blocks is no launch. shared_bytes above 48 KiB are asked for by name, as every architecture wants it.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const auto* entry = reinterpret_cast<const void*>(kernel);
  if (shared_bytes > 48 * 1024) {
    check(cudaFuncSetAttribute(entry, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)),
          "cudaFuncSetAttribute");
  }
  std::tuple<Parameters...> values(std::forward<Arguments>(arguments)...);
  std::apply(
      [&](auto&... value) {
        void* pointers[] = {const_cast<void*>(static_cast<const void*>(&value))...};
        check(cudaLaunchKernel(entry, grid, block, pointers, shared_bytes, stream), "cudaLaunchKernel");
      },
      values);
}

}  // namespace humanizer::cuda
