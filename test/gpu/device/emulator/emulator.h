// What the cases of test/cuda/ops*.cu tell the emulated device: on a GPU, where this header is found in place of that
// one's, it is a repetition and no more.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated_cuda {

inline void set_seed(uint64_t) {}
inline void set_sparse(uint32_t) {}
inline void set_memory(size_t) {}

}  // namespace emulated_cuda
