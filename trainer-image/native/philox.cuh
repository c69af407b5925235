// Dropout's mask on the device: the bits of philox.h, for eight neighbouring columns at a time.
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

// What a kernel needs of Dropout; off when ordinal is null.
struct Mask {
  PhiloxKey key;
  uint32_t threshold;
  float scale;
  const uint32_t *step, *ordinal, *position;
  int64_t rows;
};

inline Mask mask_of(const Dropout& d, int64_t rows) {
  if (d.rate == 0) return {{0, 0}, 0, 1, nullptr, nullptr, nullptr, rows};
  return {d.key,
          static_cast<uint32_t>(static_cast<double>(d.rate) * 4294967296.0),
          1.0f / (1.0f - d.rate),
          d.step,
          d.ordinal,
          d.position,
          rows};
}

// x times its mask at row `row`, columns [column, column + 8). All lanes call it, and four neighbouring lanes for 32
// neighbouring columns of one row: a counter serves four columns that are 8 apart, so each of the four lanes draws a
// quarter of the counters and hands their words to the lanes whose columns they serve.
__device__ inline void drop(Eight& x, const Mask& mask, int64_t row, int64_t column) {
  if (!mask.ordinal) return;
  const int lane = static_cast<int>(threadIdx.x) % 4;
  const bool inside = row < mask.rows;
  const uint32_t step = *mask.step, ordinal = inside ? mask.ordinal[row] : 0,
                 position = inside ? mask.position[row] : 0;
  uint32_t keep = 0;  // bit 8 * word + counter of this lane's two counters
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint32_t counter = static_cast<uint32_t>(column / 32 * 8) + static_cast<uint32_t>(2 * lane + i);
    const PhiloxWords words = philox(mask.key, step, ordinal, position, counter);
    const uint32_t kept = (words.at[0] >= mask.threshold ? 1u : 0u) | (words.at[1] >= mask.threshold ? 1u << 8 : 0u) |
                          (words.at[2] >= mask.threshold ? 1u << 16 : 0u) |
                          (words.at[3] >= mask.threshold ? 1u << 24 : 0u);
    keep |= kept << (2 * lane + i);
  }
  keep |= __shfl_xor_sync(kAllLanes, keep, 1);
  keep |= __shfl_xor_sync(kAllLanes, keep, 2);
  keep >>= 8 * lane;
#pragma unroll
  for (int i = 0; i < 8; ++i) x.at[i] = keep >> i & 1 ? mul(x.at[i], mask.scale) : 0.0f;
}

}  // namespace humanizer::cuda
