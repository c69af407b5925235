// The emulated device: its limits, its state, and the running of one kernel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../emulated/runtime_api.h"
#include "kernel_launch.h"

namespace emulated_cuda {

// Of one compute capability: CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
struct Architecture {
  int capability;
  size_t shared_per_block;  // opt-in
  size_t shared_per_multiprocessor;
  int threads_per_multiprocessor, blocks_per_multiprocessor;
};
const Architecture& architecture();

// What every call answers instead of doing anything, after break_device; else cudaSuccess.
cudaError_t device_state();

// Keeps `error` for cudaGetLastError and returns it.
cudaError_t answer(cudaError_t error);

// Shared memory while a kernel runs. What the host's code keeps in thread-local variables comes back at the end.
class SharedMemory {
 public:
  explicit SharedMemory(size_t dynamic_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  void poison() const;

 private:
  std::vector<char> saved_;
};

// Fails when the device could not start it.
void expect_launchable(const Launch& launch);
void run_kernel(const Launch& launch);

}  // namespace emulated_cuda
