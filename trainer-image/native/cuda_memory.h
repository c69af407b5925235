// The device's memory, and the way to the device.
#pragma once

#include "memory.h"

namespace humanizer::cuda {

extern const Memory kDeviceMemory;
extern const Memory kPinnedMemory;  // the host's, which copies reach while the host goes on

// Throws what stands in the way of using the first device.
void open_device();

}  // namespace humanizer::cuda
