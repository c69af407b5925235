// What NVIDIA's compiler made of each kernel (kernels.tsv, written by report.ts): a device refuses launches beyond it.
#pragma once

#include "device.h"

namespace emulated_cuda {

// Fails when the kernel's registers, static shared memory or launch bounds do not allow this launch on the chosen
// architecture. Kernels that are in no .cu file of the engine have no limits but those of set_limits.
void expect_within_limits(const Launch& launch);

}  // namespace emulated_cuda
