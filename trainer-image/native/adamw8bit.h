// AdamW (adamw.h) with both moments in 8 bits, as bitsandbytes' kOptimizerStatic8bit2StateBlockwise keeps them
// (csrc/kernels.cu; Dettmers et al., 2022), by blocks of 256 values of one parameter matrix:
//   m = kDynamicCode[first] * first_absmax;  v = kUnsignedDynamicCode[second] * second_absmax
// A step makes m and v f32, updates the parameter with those, and stores each again as its block's new maximum and the
// nearest codes of value / maximum. Halfway between two codes the even one is taken, and a code of m never has the
// other sign than m: below 0 what would be code 0.0 becomes the next lower one.
// Weight decay comes before the update, as in adamw.h and in bitsandbytes' CPU kernel; its CUDA kernel has it after.
#pragma once

#include "adamw.h"

namespace humanizer {

extern const float kUnsignedDynamicCode[256];  // ascending, 0 to 1

inline constexpr int64_t kMomentBlock = 256;
// Smaller matrices keep their moments in f32: bitsandbytes' min_8bit_size.
inline constexpr int64_t kMinQuantizedMoments = 4096;

// Of count values: codes [count], maxima [ceil(count / 256)]. Zeros everywhere are moments of 0.
struct QuantizedMoments {
  uint8_t *first, *second;
  float *first_absmax, *second_absmax;
};

// Zeroes the gradient, skipped or not.
using Adamw8bitUpdate = void(float* parameter, float* gradient, const QuantizedMoments& moments, int64_t count,
                             const GradientNorm* norm, const AdamwOptions& options);

}  // namespace humanizer
