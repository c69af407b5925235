// lora.h's products with factors rounded to bf16 (bf16_matmul.h): x, A, B, dy, and h and dh where they are factors, h
// and dh times what goes with them. All sums, and the h that is kept, are f32.
#pragma once

#include "lora.h"

namespace humanizer {

inline constexpr int64_t kBf16LoraBlock = 112;  // rows that a thread goes through at a time

// Floats of scratch of both directions for a stream of that many threads. It does not grow with T.
static inline int64_t bf16_lora_scratch(int threads, int64_t in, int64_t out, int64_t rank) {
  const int64_t padded = (rank + 31) / 32 * 32, whole_in = (in + 31) / 32 * 32, whole_out = (out + 31) / 32 * 32;
  const int64_t of_thread = (whole_in + whole_out + 3 * kBf16LoraBlock) * padded + 14 * whole_in / 2;
  return 16 + (whole_in + whole_out) * padded / 2 + threads * of_thread;
}

}  // namespace humanizer
