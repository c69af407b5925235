#pragma once

#include <cstdint>

namespace emulated_cuda {
// How many blocks of a launch run between the first and the last; 0: all do (emulator.h).
uint32_t sparse_blocks();
}  // namespace emulated_cuda
