// Dropout's mask of a row as bits, bit i of word g for column 32 g + i: set where the column is kept (lora.h,
// philox.h). Everything here is static: each instruction path has its own.
#pragma once

#include "lora.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

#if defined(__AVX512F__)

// philox.h with one counter in each 64-bit lane, whose upper half is noise that the next product does not look at: a
// round is six instructions for eight counters. What the rounds before the fourth have in common for a row is taken
// once. Two vectors go side by side, since a round waits for the one before it.
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

  // words[0..count) = those from `first` on.
  void draw(uint32_t* words, int64_t first, int64_t count) const {
    int64_t g = 0;
    for (; g + 4 <= count; g += 4) draw<2>(words + g, first + g);
    for (; g + 2 <= count; g += 2) draw<1>(words + g, first + g);
    if (g == count) return;
    uint32_t last[2];
    draw<1>(last, first + g);
    words[g] = last[0];
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

  // 2 kVectors words.
  template <int kVectors>
  void draw(uint32_t* words, int64_t first) const {
    const __m512i by0 = lanes(low(kBy0)), by2 = lanes(low(kBy2));
    __m512i x0[kVectors], x1[kVectors], x2[kVectors], x3[kVectors];
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) {
      // In this order unpacking leaves the counters' columns in theirs.
      const __m512i lane =
          _mm512_add_epi64(lanes(static_cast<uint32_t>(4 * first + 8 * i)), _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7));
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
      for (int i = 0; i < kVectors; ++i) {
        const __m512i a = _mm512_mul_epu32(x0[i], by0), b = _mm512_mul_epu32(x2[i], by2);
        x0[i] = exclusive_or(high(b), x1[i], k0);
        x2[i] = exclusive_or(high(a), x3[i], k1);
        x1[i] = b;
        x3[i] = a;
      }
    }
    const __m512i threshold = _mm512_set1_epi16(static_cast<int16_t>(threshold_));
#pragma GCC unroll 2
    for (int i = 0; i < kVectors; ++i) {
      const __m512i first_half = pair(x0[i], x1[i]), second_half = pair(x2[i], x3[i]);
      words[2 * i] = _mm512_cmpge_epu16_mask(_mm512_unpacklo_epi64(first_half, second_half), threshold);
      words[2 * i + 1] = _mm512_cmpge_epu16_mask(_mm512_unpackhi_epi64(first_half, second_half), threshold);
    }
  }

  // Of each lane word `a` below word `b`.
  static __m512i pair(__m512i a, __m512i b) {
    return _mm512_mask_shuffle_epi32(a, 0xaaaa, b, static_cast<_MM_PERM_ENUM>(0xa0));
  }

  PhiloxKey key_;
  uint32_t threshold_, x2_, x0_second_, x0_third_, x1_third_, x2_third_;
};

#else

class RowMask {
 public:
  RowMask(const Dropout& d, int64_t row)
      : key_(d.key),
        threshold_(dropout_threshold(d.rate)),
        step_(*d.step),
        ordinal_(d.ordinal[row]),
        position_(d.position[row]) {}

  // words[0..count) = those from `first` on.
  void draw(uint32_t* words, int64_t first, int64_t count) const {
    for (int64_t g = 0; g < count; g += 2) {
      alignas(32) uint32_t drawn[32];
      philox_group(drawn, key_, step_, ordinal_, position_, static_cast<uint32_t>(4 * (first + g)));
      uint32_t pair[2];
      compare(pair, drawn);
      words[g] = pair[0];
      if (g + 1 < count) words[g + 1] = pair[1];
    }
  }

 private:
#if defined(__AVX2__)
  void compare(uint32_t pair[2], const uint32_t drawn[32]) const {
    const auto* x = reinterpret_cast<const __m256i*>(drawn);
    const __m256i threshold = _mm256_set1_epi16(static_cast<int16_t>(threshold_));
    const auto kept = [&](__m256i v) { return _mm256_cmpeq_epi16(_mm256_max_epu16(v, threshold), v); };
    const __m256i a0 = _mm256_unpacklo_epi32(x[0], x[1]), a1 = _mm256_unpackhi_epi32(x[0], x[1]);
    const __m256i b0 = _mm256_unpacklo_epi32(x[2], x[3]), b1 = _mm256_unpackhi_epi32(x[2], x[3]);
    // In each half of a vector the sixteen columns of two counters: 0, 1 and 4, 5; 2, 3 and 6, 7.
    const auto columns = [&](__m256i a, __m256i b) {
      return static_cast<uint32_t>(_mm256_movemask_epi8(
          _mm256_packs_epi16(kept(_mm256_unpacklo_epi64(a, b)), kept(_mm256_unpackhi_epi64(a, b)))));
    };
    const uint32_t even = columns(a0, b0), odd = columns(a1, b1);
    pair[0] = (even & 0xffffu) | odd << 16;
    pair[1] = even >> 16 | (odd & 0xffff0000u);
  }
#else
  void compare(uint32_t pair[2], const uint32_t drawn[32]) const {
    pair[0] = pair[1] = 0;
    for (int word = 0; word < 4; ++word) {
      for (int lane = 0; lane < 8; ++lane) {
        const uint32_t both = drawn[8 * word + lane];
        const uint32_t kept = ((both & 0xffffu) >= threshold_ ? 1u : 0u) | (both >> 16 >= threshold_ ? 2u : 0u);
        pair[lane / 4] |= kept << (lane % 4 * 8 + 2 * word);
      }
    }
  }
#endif

  PhiloxKey key_;
  uint32_t threshold_, step_, ordinal_, position_;
};

#endif

}  // namespace

// Leaves the mask of rows [row, row + rows) of in columns where backward reads it, if it does.
static inline void keep_mask(const Dropout& d, int64_t row, int64_t rows, int64_t in) {
  if (!d.kept) return;
  const int64_t words = mask_words(in);
  for (int64_t r = row; r < row + rows; ++r) RowMask(d, r).draw(d.kept + r * words, 0, words);
}

// words[0..count) = those of the row from `first` on, which are drawn where they were not kept.
static inline void take_mask(uint32_t* words, const Dropout& d, int64_t row, int64_t in, int64_t first, int64_t count) {
  if (!d.kept) return RowMask(d, row).draw(words, first, count);
  const uint32_t* kept = d.kept + row * mask_words(in) + first;
  for (int64_t g = 0; g < count; ++g) words[g] = kept[g];
}

// keep[0 .. 32 count) = what the columns of these words are multiplied by: scale, or 0.
static inline void spread_mask(float* keep, const uint32_t* words, int64_t count, float scale) {
  for (int64_t g = 0; g < count; ++g, keep += 32) {
    const uint32_t word = words[g];
#pragma omp simd
    for (int i = 0; i < 32; ++i) keep[i] = (word >> i & 1) != 0 ? scale : 0.0f;
  }
}

}  // namespace humanizer::HUMANIZER_ISA
