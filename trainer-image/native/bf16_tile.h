// Of what products of bf16 factors are made: pairs, panels of them, and a tile of sums. A pair is two neighbours of the
// dimension that is summed over; row k of a panel has pair k of kBf16Cols columns. Everything here is static: of the
// path that has the instructions.
#pragma once

#include <immintrin.h>

#include "bf16_matmul.h"

namespace humanizer::HUMANIZER_ISA {

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The first of the two in the low half.
using Pair = uint32_t;
using Bf16 = uint16_t;

static inline Pair* pairs_at(float* scratch) { return reinterpret_cast<Pair*>(scratch); }

// The first cache line that begins in scratch.
static inline float* aligned(float* scratch) {
  return scratch + (64 - reinterpret_cast<uintptr_t>(scratch) % 64) % 64 / 4;
}

static inline __mmask16 first(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1);
}

static inline __mmask32 first_of_32(int64_t count) {
  return static_cast<__mmask32>(count >= 32 ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1);
}

// Pairs of 32 neighbouring values, zeros from count on.
static inline __m512i pairs_of(const Bf16* from, int64_t count) {
  return _mm512_maskz_loadu_epi16(first_of_32(count), from);
}
static inline __m512i pairs_of(const float* from, int64_t count) {
  const __m512 low = _mm512_maskz_loadu_ps(first(count), from);
  const __m512 high = _mm512_maskz_loadu_ps(first(count - 16), from + 16);
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// In place: the nearest bf16 of each value, ties to even.
static inline const Bf16* rounded(float* values, int64_t count) {
  auto* to = reinterpret_cast<Bf16*>(values);
  for (int64_t i = 0; i < count; i += 32) {  // what is written lies before what is read next
    _mm512_mask_storeu_epi16(to + i, first_of_32(count - i), pairs_of(values + i, count - i));
  }
  return to;
}

// The pairs (even[i], odd[i]).
static inline __m512i interleave(__m512 even, __m512 odd) {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(odd, even)));
}

// The same of those that the masks choose, else zeros.
static inline __m512i pairs_of_two(const float* even, __mmask16 of_even, const float* odd, __mmask16 of_odd) {
  return interleave(_mm512_maskz_loadu_ps(of_even, even), _mm512_maskz_loadu_ps(of_odd, odd));
}
static inline __m512i pairs_of_two(const Bf16* even, __mmask16 of_even, const Bf16* odd, __mmask16 of_odd) {
  const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(of_even, even));
  const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(of_odd, odd));
  return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

static inline void transpose(__m512i x[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // x[i + j] has column 4 L + j of rows i..i+3 in its quarter L
    x[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const __m512i a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88), b = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd);
    const __m512i c = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88),
                  d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
    x[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    x[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    x[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    x[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
}

// Panel of W^T (in, out): `count` rows of W (.., cols), at most 32, become its columns. f32 or bf16.
template <class Value>
static inline void pack_transposed(Pair* panel, const Value* w, int64_t stride, int64_t count, int64_t cols) {
  const int64_t pairs = (cols + 1) / 2;
  for (int64_t half = 0; half < kBf16Cols; half += 16) {
    for (int64_t k = 0; k < pairs; k += 16) {
      __m512i rows[16];
      for (int64_t r = 0; r < 16; ++r) {
        rows[r] = half + r < count ? pairs_of(w + (half + r) * stride + 2 * k, cols - 2 * k) : _mm512_setzero_si512();
      }
      transpose(rows);
      for (int64_t j = 0; j < smaller(16, pairs - k); ++j) {
        _mm512_store_si512(panel + (k + j) * kBf16Cols + half, rows[j]);
      }
    }
  }
}

// One row of every panel of W (out, in): two rows of W, the second null beyond the last. f32 or bf16.
template <class Value>
static inline void pack_two(Pair* panels, int64_t panel, const Value* even, const Value* odd, int64_t cols) {
  for (int64_t c = 0; c < cols; c += kBf16Cols, panels += panel) {
    for (int64_t at = c; at < c + kBf16Cols; at += 16) {
      const __mmask16 mask = first(cols - at);
      _mm512_store_si512(panels + at - c,
                         odd ? pairs_of_two(even + at, mask, odd + at, mask) : pairs_of_two(even + at, mask, even, 0));
    }
  }
}

// A tile in registers: sum += a b,  a(i, k) = a[i * row + k * step],  b a panel.
template <int kRows>
struct Bf16Tile {
  __m512 sum[kRows][2];

  static Bf16Tile zeros() {
    Bf16Tile t;
#pragma GCC unroll 14
    for (int i = 0; i < kRows; ++i) t.sum[i][0] = t.sum[i][1] = _mm512_setzero_ps();
    return t;
  }

  static inline __attribute__((always_inline)) Bf16Tile product(const Pair* a, int64_t row, int64_t step, const Pair* b,
                                                                int64_t pairs) {
    Bf16Tile t = zeros();
    for (int64_t k = 0; k < pairs; ++k, a += step, b += kBf16Cols) {
      const auto b0 = reinterpret_cast<__m512bh>(_mm512_load_si512(b));
      const auto b1 = reinterpret_cast<__m512bh>(_mm512_load_si512(b + 16));
#pragma GCC unroll 14
      for (int i = 0; i < kRows; ++i) {
        const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[i * row])));
        t.sum[i][0] = _mm512_dpbf16_ps(t.sum[i][0], x, b0);
        t.sum[i][1] = _mm512_dpbf16_ps(t.sum[i][1], x, b1);
      }
    }
    return t;
  }
};

// c = or += a b for kBf16Rows rows of a and one panel b, of which rows x cols exist.
static inline void multiply_tile(Rows c, bool add, const Pair* a, int64_t a_stride, const Pair* b, int64_t pairs) {
  auto [sum] = Bf16Tile<kBf16Rows>::product(a, a_stride, 1, b, pairs);
  const __mmask16 m0 = first(c.cols), m1 = first(c.cols - 16);
#pragma GCC unroll 14
  for (int64_t i = 0; i < kBf16Rows; ++i) {
    if (i >= c.rows) break;
    float* to = c.row(i);
    if (add) {
      sum[i][0] = _mm512_add_ps(sum[i][0], _mm512_maskz_loadu_ps(m0, to));
      sum[i][1] = _mm512_add_ps(sum[i][1], _mm512_maskz_loadu_ps(m1, to + 16));
    }
    _mm512_mask_storeu_ps(to, m0, sum[i][0]);
    _mm512_mask_storeu_ps(to + 16, m1, sum[i][1]);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
