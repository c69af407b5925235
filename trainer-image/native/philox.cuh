// Dropout's mask on the device (lora.h): one counter of philox.h for eight neighbouring columns.
#pragma once

#include "device.cuh"
#include "lora.h"

namespace humanizer::cuda {

struct PhiloxWords {
  uint32_t at[4];
};

// The four words of one counter.
__device__ inline PhiloxWords philox(PhiloxKey key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3) {
  uint32_t k0 = key.low, k1 = key.high;
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const uint32_t high_a = __umulhi(c0, 0xD2511F53u), low_a = c0 * 0xD2511F53u;
    const uint32_t high_b = __umulhi(c2, 0xCD9E8D57u), low_b = c2 * 0xCD9E8D57u;
    c0 = high_b ^ c1 ^ k0;
    c2 = high_a ^ c3 ^ k1;
    c1 = low_b;
    c3 = low_a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// What a kernel needs of Dropout; off when scale is 0.
struct Mask {
  PhiloxKey key;
  uint32_t threshold;  // in the upper half
  float scale;
  const uint32_t *step, *ordinal, *position;
  uint8_t* kept;  // Dropout::kept: bit i of byte c / 8 of a row for column c + i
  int stride;     // bytes of a row of it
};

// kept: where drawn bits go, or nowhere when null; or where they are read.
inline Mask mask_of(const Dropout& d, int64_t in, uint32_t* kept) {
  if (d.rate == 0) return {};
  return {d.key,
          dropout_threshold(d.rate) << 16,
          kept_scale(d.rate),
          d.step,
          d.ordinal,
          d.position,
          reinterpret_cast<uint8_t*>(kept),
          static_cast<int>(mask_words(in) * 4)};
}

// Of columns [column, column + 8) of a row, from a multiple of eight on.
__device__ inline uint32_t read_mask(const Mask& mask, int64_t row, int64_t column) {
  return mask.kept[row * mask.stride + column / 8];
}

// The first block along y keeps what it draws.
__device__ inline uint32_t draw_mask(const Mask& mask, int64_t row, int64_t column) {
  const PhiloxWords words =
      philox(mask.key, *mask.step, mask.ordinal[row], mask.position[row], static_cast<uint32_t>(column / 8));
  uint32_t kept = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    kept |= words.at[i] << 16 >= mask.threshold ? 1u << (2 * i) : 0;
    kept |= words.at[i] >= mask.threshold ? 2u << (2 * i) : 0;
  }
  if (mask.kept && blockIdx.y == 0) mask.kept[row * mask.stride + column / 8] = static_cast<uint8_t>(kept);
  return kept;
}

// x times the mask of its columns.
__device__ inline void drop(Eight& x, uint32_t kept, float scale) {
#pragma unroll
  for (int i = 0; i < 8; ++i) x.at[i] = kept >> i & 1 ? mul(x.at[i], scale) : 0.0f;
}

}  // namespace humanizer::cuda
