// The device's memory, and the way to the device.
#pragma once

#include "memory.h"

namespace humanizer::cuda {

extern const Memory kDeviceMemory;

// Throws what stands in the way of using the first device.
void open_device();

}  // namespace humanizer::cuda
