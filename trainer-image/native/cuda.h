// The CUDA column of the op table: one device, whose memory holds all that a model has. Activations are bf16, with
// sums, scales, losses, parameters and their gradients in f32; or all of them f32, for comparison with the CPU's
// numbers.
#pragma once

#include <string>

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
  std::string name;     // of the device, such as "NVIDIA H100 80GB HBM3 MIG 1g.10gb"
};
// Of the device that those two compute on, and throwing as they do.
DeviceMemory device_memory();

namespace cuda {

// When the calling thread captures a step (Backend::begin) into a CUDA graph and keeps that: when its key comes for the
// `turn`-th time. 2 unless said otherwise; 0: never; 1: at once, and also what comes but once. Nothing in a captured
// step can allocate or wait, or CUDA refuses it.
void capture_steps(int64_t turn);
// Of the calling thread: how many steps it captured, ran as a graph that it had, and has graphs of now; why the last of
// those that could not be kept could not.
struct KeptSteps {
  int64_t captured, replayed, kept;
  std::string refused;
};
KeptSteps kept_steps();
// How often the calling thread has waited for the device.
int64_t waits();

}  // namespace cuda
}  // namespace humanizer
