// What starting a kernel asks of the device.
#pragma once

#include <functional>

#include "../emulated/runtime_api.h"

namespace emulated_cuda {

struct Launch {
  const void* kernel;  // its address, for its name and its limits
  dim3 grid, block;
  size_t shared_bytes;
  std::function<void()> thread;  // one thread's whole run
};

// Fails when one of the value's words is an address of the host's memory that the device could not read.
void expect_device_pointers(const Launch& launch, const void* value, size_t bytes);

// Fails when the device could not start it; else appends it to the stream.
cudaError_t enqueue(Launch launch, cudaStream_t stream);

}  // namespace emulated_cuda
