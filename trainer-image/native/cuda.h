// The CUDA column of the op table: one device, whose memory holds all that a model has. Activations are bf16, with
// sums, scales, losses, parameters and their gradients in f32; or all of them f32, for comparison with the CPU's
// numbers.
#pragma once

#include "backend.h"

namespace humanizer {

// Whether the engine was built with the kernels.
bool built_with_cuda();
// Opens the device at the first call. Throws Error naming what is wrong and what to do: no driver, one that is too old,
// no device.
const Backend& cuda_backend();
const Backend& cuda_f32_backend();

struct DeviceMemory {
  int64_t free, total;  // bytes
};
// Of the device that those two compute on, and throwing as they do.
DeviceMemory device_memory();

namespace cuda {

// What lies between begin() and the wait after it is captured into one CUDA graph and runs as that: nothing in it can
// allocate or wait, or CUDA refuses it. Of the calling thread.
void capture_steps(bool captured);
// How often the calling thread has waited for the device.
int64_t waits();

}  // namespace cuda
}  // namespace humanizer
