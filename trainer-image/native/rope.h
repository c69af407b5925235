// Rotary position embedding, Hugging Face's halves: with (a, b) = (x[i], x[i + D/2]) of each head of size D and angle t
// of (position, i):  a' = a cos t - b sin t,  b' = b cos t + a sin t.  Backward is the rotation by -t.
//   x            (R, heads * D)  rotated in place
//   positions    (R)             position of each row in its document
//   table        (P, D)          cos of the D/2 angles, then sin; P > every position
#pragma once

#include <cstdint>
#include <vector>

#include "tensor.h"

namespace humanizer {

using Rope = void(Rows x, const int32_t* positions, const float* table, int64_t head_size, bool backward);

// Llama 3's change of the frequencies; factor 1 leaves them as they are.
struct RopeScaling {
  float factor = 1, low_frequency_factor = 1, high_frequency_factor = 4, original_max_positions = 8192;
};

// One inverse frequency per pair, computed in f32 as transformers does.
std::vector<float> rope_frequencies(int64_t head_size, float theta, const RopeScaling& scaling);

// The table for positions [0, positions).
void rope_table(float* table, const std::vector<float>& frequencies, int64_t positions);

}  // namespace humanizer
