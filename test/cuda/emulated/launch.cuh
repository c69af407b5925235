// The engine's launch.cuh for the emulated device: same names, found first.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <string>
#include <tuple>
#include <utility>

#include "../emulator/block.h"
#include "../emulator/kernel_launch.h"
#include "error.h"

namespace humanizer::cuda {

inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();
  throw Error(status == cudaErrorMemoryAllocation ? Code::kOutOfMemory : Code::kInternal,
              std::string(call) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status));
}

template <class T>
T* dynamic_shared() {
  return static_cast<T*>(emulated_cuda::dynamic_shared_memory());
}

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
            Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments));
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  using Values = std::tuple<Parameters...>;
  Values values(std::forward<Arguments>(arguments)...);
  emulated_cuda::Launch launch{reinterpret_cast<const void*>(kernel), grid, block, shared_bytes, {}};
  std::apply([](auto&... value) { (__builtin_clear_padding(&value), ...); }, values);  // no pointer stands there
  std::apply([&](const auto&... value) { (emulated_cuda::expect_device_pointers(launch, &value, sizeof value), ...); },
             values);
  launch.thread = [kernel, values] { std::apply(kernel, values); };
  check(emulated_cuda::enqueue(std::move(launch), stream), "cudaLaunchKernel");
}

}  // namespace humanizer::cuda
