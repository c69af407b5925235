// Dropout's mask of a row: column c is kept where its word of philox.h is at least rate * 2^32. Everything here is
// static: each instruction path has its own.
#pragma once

#include "lora.h"

namespace humanizer::HUMANIZER_ISA {

static inline uint32_t dropout_threshold(float rate) {
  return static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0);
}

// What a kept value is multiplied by.
static inline float kept_scale(const Dropout& d) { return 1.0f / (1.0f - d.rate); }

#if defined(__AVX512F__)

// The mask as bits, bit i of word g for column 32 g + i. philox.h with one counter in each 64-bit lane, whose upper
// half is noise that the next product does not look at: a round is six instructions for eight counters. What the rounds
// before the fourth have in common for a row is taken once. Two groups go side by side, since a round waits for the one
// before it.
class RowMask {
 public:
  RowMask(const Dropout& d, int64_t row) : key_(d.key), threshold_(dropout_threshold(d.rate)) {
    const uint64_t a1 = kBy0 * *d.step, b1 = kBy2 * d.position[row];
    x2_ = high(a1) ^ key_.high;
    const uint64_t a2 = kBy0 * (high(b1) ^ d.ordinal[row] ^ key_.low);
    x0_second_ = low(b1) ^ round_key(1).low;
    const uint64_t b3 = kBy2 * (high(a2) ^ low(a1) ^ round_key(1).high);
    x0_third_ = high(b3) ^ round_key(2).low;
    x1_third_ = low(b3);
    x2_third_ = low(a2) ^ round_key(2).high;
  }

  // words[0..count) = those of the groups from `first` on.
  void draw(uint32_t* words, int64_t first, int64_t count) const {
    int64_t g = 0;
    for (; g + 2 <= count; g += 2) draw<2>(words + g, first + g);
    if (g < count) draw<1>(words + g, first + g);
  }

 private:
  static constexpr uint64_t kBy0 = 0xD2511F53u, kBy2 = 0xCD9E8D57u;

  static uint32_t high(uint64_t x) { return static_cast<uint32_t>(x >> 32); }
  static uint32_t low(uint64_t x) { return static_cast<uint32_t>(x); }
  PhiloxKey round_key(uint32_t round) const {
    return {key_.low + round * 0x9E3779B9u, key_.high + round * 0xBB67AE85u};
  }
  static __m512i lanes(uint32_t value) { return _mm512_set1_epi64(static_cast<int64_t>(uint64_t{value})); }
  static __m512i high(__m512i x) { return _mm512_srli_epi64(x, 32); }
  static __m512i exclusive_or(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }

  template <int kGroups>
  void draw(uint32_t* words, int64_t first) const {
    const __m512i by0 = lanes(low(kBy0)), by2 = lanes(low(kBy2));
    __m512i x0[kGroups], x1[kGroups], x2[kGroups], x3[kGroups];
#pragma GCC unroll 2
    for (int i = 0; i < kGroups; ++i) {
      const __m512i lane =
          _mm512_add_epi64(lanes(static_cast<uint32_t>(first + i) * 8), _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7));
      const __m512i b2 = _mm512_mul_epu32(_mm512_xor_si512(lane, lanes(x2_)), by2);
      const __m512i a3 = _mm512_mul_epu32(_mm512_xor_si512(high(b2), lanes(x0_second_)), by0);
      x0[i] = _mm512_xor_si512(b2, lanes(x0_third_));
      x1[i] = lanes(x1_third_);
      x2[i] = _mm512_xor_si512(high(a3), lanes(x2_third_));
      x3[i] = a3;
    }
#pragma GCC unroll 7
    for (uint32_t round = 3; round < 10; ++round) {
      const __m512i k0 = lanes(round_key(round).low), k1 = lanes(round_key(round).high);
#pragma GCC unroll 2
      for (int i = 0; i < kGroups; ++i) {
        const __m512i a = _mm512_mul_epu32(x0[i], by0), b = _mm512_mul_epu32(x2[i], by2);
        x0[i] = exclusive_or(high(b), x1[i], k0);
        x2[i] = exclusive_or(high(a), x3[i], k1);
        x1[i] = b;
        x3[i] = a;
      }
    }
    const __m512i threshold = _mm512_set1_epi64(static_cast<int64_t>(uint64_t{threshold_} << 32));
    const auto kept = [&](__m512i x) -> uint32_t {
      return _mm512_cmpge_epu64_mask(_mm512_slli_epi64(x, 32), threshold);
    };
#pragma GCC unroll 2
    for (int i = 0; i < kGroups; ++i) words[i] = kept(x0[i]) | kept(x1[i]) << 8 | kept(x2[i]) << 16 | kept(x3[i]) << 24;
  }

  PhiloxKey key_;
  uint32_t threshold_, x2_, x0_second_, x0_third_, x1_third_, x2_third_;
};

// keep[0 .. 32 count) = what the columns of the groups from `first` on are multiplied by: kept_scale, or 0.
static inline void draw_kept(float* keep, const Dropout& d, int64_t row, int64_t first, int64_t count) {
  const RowMask mask(d, row);
  const __m512 scale = _mm512_set1_ps(kept_scale(d));
  for (int64_t g = 0; g < count; g += 2) {
    const int64_t groups = count - g < 2 ? 1 : 2;
    uint32_t words[2];
    mask.draw(words, first + g, groups);
    for (int64_t i = 0; i < groups; ++i, keep += 32) {
      _mm512_storeu_ps(keep, _mm512_maskz_mov_ps(static_cast<__mmask16>(words[i]), scale));
      _mm512_storeu_ps(keep + 16, _mm512_maskz_mov_ps(static_cast<__mmask16>(words[i] >> 16), scale));
    }
  }
}

#else

static inline void draw_kept(float* keep, const Dropout& d, int64_t row, int64_t first, int64_t count) {
  const uint32_t threshold = dropout_threshold(d.rate);
  const float scale = kept_scale(d);
  for (int64_t g = 0; g < count; ++g, keep += 32) {
    alignas(64) uint32_t words[32];
    philox_group(words, d.key, *d.step, d.ordinal[row], d.position[row], static_cast<uint32_t>(first + g));
#pragma omp simd
    for (int i = 0; i < 32; ++i) keep[i] = words[i] >= threshold ? scale : 0.0f;
  }
}

#endif

}  // namespace humanizer::HUMANIZER_ISA
