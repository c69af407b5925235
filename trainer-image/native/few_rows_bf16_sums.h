// What few_rows_bf16.cc makes of a row of W: its products with some rows of x, which are laid out for it. Everything
// here is static: of the path that has the instructions.
//
// Four codes stand in 16 bits. A look-up in a register of 32 bf16 reads the lowest bits of each 16: shifted by 0, 4, 8
// and 12 they give the second, first, fourth and third value of every four, so x is laid out in that order once. A
// register has 32 codes of each of four runs, a quarter for each, so that one multiplication scales the sums of all
// four.
#pragma once

#include <immintrin.h>

#include "bf16_tile.h"
#include "hand_off.h"
#include "microkernel.h"
#include "tensor.h"

namespace humanizer::HUMANIZER_ISA {

// Bytes of W that are fetched before they are needed. In the order in which they lie, whatever rows are read side by
// side: otherwise memory gives half as many.
constexpr int64_t kAheadCodes = 2048, kAheadValues = 4096;
constexpr int64_t kRun = 64;  // values of one scale, 32 bytes of codes
constexpr int64_t kChunk = 4 * kRun;

static inline __m512bh bits(__m512i x) { return reinterpret_cast<__m512bh>(x); }
static inline __m256bh bits(__m256i x) { return reinterpret_cast<__m256bh>(x); }
static inline __m512i load_bits(const Bf16* at) { return _mm512_loadu_si512(at); }
static inline __m256i load_half(const void* at) { return _mm256_loadu_si256(static_cast<const __m256i*>(at)); }

// The sixteen code values, twice.
static inline __m512i code_table(const float* code) {
  const __m512 values = _mm512_loadu_ps(code);
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(values, values));
}

// x lies in chunks of kChunk columns, all rows of one chunk after those of the chunk before.
struct Inputs {
  Bf16* values;
  int64_t rows, cols;
  Bf16* at(int64_t row, int64_t column) const { return values + (column / kChunk * rows + row) * kChunk; }
  // Of the columns that nf4_sums has before the first chunk: behind all chunks.
  Bf16* before(int64_t row, int64_t column) const {
    return at(0, cols - cols % kChunk) + (column / kRun * rows + row) * kRun;
  }
};

// Runs of a row that stand before its whole chunks.
static inline int64_t first_runs(int64_t cols) { return cols % kChunk / kRun; }

// For nf4_sums. The runs before the chunks, each of 64 values: the second of every four, the first, the fourth, the
// third. Then chunks of four runs: of the first halves of all four the second of every four, and so on.
static inline void lay_out_for_codes(const Inputs& to, ConstRows x) {
  alignas(64) Bf16 places[2][32];
  for (int i = 0; i < 16; ++i) {
    for (int half = 0; half < 2; ++half) {
      places[half][i] = static_cast<Bf16>(4 * i + 2 * half + 1);
      places[half][16 + i] = static_cast<Bf16>(4 * i + 2 * half);
    }
  }
  const int64_t first = first_runs(x.cols) * kRun;
#pragma omp parallel for schedule(static) if (x.rows * x.cols > kWorthThreads)
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += kRun) {
      const __m512i low = pairs_of(x.row(r) + c, 32), high = pairs_of(x.row(r) + c + 32, 32);
      __m512i quarters[2];  // of 16 values each: the second of every four, the first; the fourth, the third
      for (int half = 0; half < 2; ++half) {
        quarters[half] = _mm512_permutex2var_epi16(low, load_bits(places[half]), high);
      }
      if (c < first) {
        Bf16* at = to.before(r, c);
        for (int half = 0; half < 2; ++half) _mm512_storeu_si512(at + 32 * half, quarters[half]);
        continue;
      }
      // Eight values of a quarter belong to the first half of the run, which is eight values of a register.
      Bf16* at = to.at(r, c - first) + (c - first) % kChunk / kRun * 8;
      for (int half = 0; half < 2; ++half) {
        for (int part = 0; part < 4; ++part) {
          const __m512i of = _mm512_maskz_compress_epi64(static_cast<__mmask8>(3 << 2 * part), quarters[half]);
          const int64_t shift = 2 * half + part / 2, of_run = part % 2;
          _mm_storeu_si128(reinterpret_cast<__m128i*>(at + (4 * of_run + shift) * 32), _mm512_castsi512_si128(of));
        }
      }
    }
  }
}

// For bf16_sums: as it is, zeros up to whole registers.
static inline void lay_out_in_order(const Inputs& to, ConstRows x) {
#pragma omp parallel for schedule(static) if (x.rows * x.cols > kWorthThreads)
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = 0; c < x.cols; c += 32) {
      _mm512_storeu_si512(to.at(r, c) + c % kChunk, pairs_of(x.row(r) + c, x.cols - c));
    }
  }
}

static inline void fetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }

// Sums of the lanes of a and b side by side: those of 16, 8 and 4 lanes in the order of _mm512_reduce_add_ps.
static inline __m512 fold_halves(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0xee), _mm512_shuffle_f32x4(a, b, 0x44));
}
static inline __m512 fold_quarters(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0xdd), _mm512_shuffle_f32x4(a, b, 0x88));
}
static inline __m512 fold_pairs(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
}

// sums[r] = all lanes of sum[r]: the bits of _mm512_reduce_add_ps, for eight at once in a third of its instructions.
template <int kX>
__attribute__((always_inline)) static inline void add_lanes(float sums[kX], const __m512 sum[kX]) {
  if constexpr (kX == 1) {
    sums[0] = _mm512_reduce_add_ps(sum[0]);
  } else {
    constexpr int kLast = kX - 1;
    const auto four = [&](int first) {
      return fold_quarters(fold_halves(sum[first], sum[first + 1]),
                           fold_halves(sum[(first + 2) & kLast], sum[(first + 3) & kLast]));
    };
    const __m512 low = four(0), both = fold_pairs(low, kX == 8 ? four(4 & kLast) : low);
    const __m512 all = _mm512_add_ps(both, _mm512_movehdup_ps(both));
    const __m512i places = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512 in_order = _mm512_permutexvar_ps(places, all);
    if constexpr (kX == 8) {
      _mm256_storeu_ps(sums, _mm512_castps512_ps256(in_order));
    } else {
      _mm512_mask_storeu_ps(sums, static_cast<__mmask16>((1 << kX) - 1), in_order);
    }
  }
}

// sums[r] = w . x[row + r] for kX rows of x. scale: of each run of w.
template <int kX>
__attribute__((noinline)) static void nf4_sums(float sums[kX], const uint8_t* codes, const float* scale, __m512i table,
                                               const Inputs& x, int64_t row) {
  __m512 sum[kX];
  __m256 before[kX];
#pragma GCC unroll 8
  for (int r = 0; r < kX; ++r) before[r] = _mm256_setzero_ps();
  const int64_t first = first_runs(x.cols);
  const Bf16* in = x.before(row, 0);
  for (int64_t run = 0; run < first; ++run, codes += kRun / 2, ++scale, in += x.rows * kRun) {
    const __m256i four = load_half(codes), half_table = _mm512_castsi512_si256(table);
    __m256 part[kX];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      const __m256bh w = bits(_mm256_permutexvar_epi16(_mm256_srli_epi16(four, 4 * k), half_table));
#pragma GCC unroll 8
      for (int r = 0; r < kX; ++r) {
        part[r] = _mm256_dpbf16_ps(k == 0 ? _mm256_setzero_ps() : part[r], w, bits(load_half(in + r * kRun + 16 * k)));
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kX; ++r) before[r] = _mm256_fmadd_ps(part[r], _mm256_broadcast_ss(scale), before[r]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < kX; ++r) sum[r] = _mm512_zextps256_ps512(before[r]);
  const __m512i quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
  in = x.at(row, 0);
  for (int64_t c = first * kRun; c < x.cols; c += kChunk, codes += kChunk / 2, scale += 4, in += x.rows * kChunk) {
    fetch(codes + kAheadCodes);
    fetch(codes + kAheadCodes + 64);
    const __m512i two = _mm512_loadu_si512(codes), next = _mm512_loadu_si512(codes + 64);
    const __m512i halves[2] = {_mm512_shuffle_i32x4(two, next, 0x88), _mm512_shuffle_i32x4(two, next, 0xdd)};
    __m512 part[kX];
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      const __m512bh w = bits(_mm512_permutexvar_epi16(_mm512_srli_epi16(halves[k / 4], 4 * (k % 4)), table));
#pragma GCC unroll 8
      for (int r = 0; r < kX; ++r) {
        part[r] =
            _mm512_dpbf16_ps(k == 0 ? _mm512_setzero_ps() : part[r], w, bits(load_bits(in + r * kChunk + 32 * k)));
      }
    }
    const __m512 scales = _mm512_permutexvar_ps(quarters, _mm512_castps128_ps512(_mm_loadu_ps(scale)));
#pragma GCC unroll 8
    for (int r = 0; r < kX; ++r) sum[r] = _mm512_fmadd_ps(part[r], scales, sum[r]);
  }
  add_lanes<kX>(sums, sum);
}

// The same of kW rows of W in bf16, sums[n * kX + r] for the n-th: a register of x is loaded once for all of them.
template <int kX, int kW>
__attribute__((noinline)) static void bf16_sums(float sums[kX * kW], const Bf16* w, const Inputs& x, int64_t row) {
  __m512 sum[kW][kX];
#pragma GCC unroll 2
  for (int n = 0; n < kW; ++n) {
#pragma GCC unroll 8
    for (int r = 0; r < kX; ++r) sum[n][r] = _mm512_setzero_ps();
  }
  const Bf16* in = x.at(row, 0);
  for (int64_t c = 0; c < x.cols; c += 32) {
    const int64_t left = x.cols - c;
    const __mmask32 mask = left >= 32 ? 0xffffffffu : (1u << left) - 1;
    __m512bh values[kW];
#pragma GCC unroll 2
    for (int n = 0; n < kW; ++n) {
      fetch(reinterpret_cast<const char*>(w) + 2 * kW * c + 64 * n + kAheadValues);
      values[n] = bits(_mm512_maskz_loadu_epi16(mask, w + n * x.cols + c));
    }
#pragma GCC unroll 8
    for (int r = 0; r < kX; ++r) {
      const __m512bh of = bits(load_bits(in + r * kChunk));
#pragma GCC unroll 2
      for (int n = 0; n < kW; ++n) sum[n][r] = _mm512_dpbf16_ps(sum[n][r], values[n], of);
    }
    in += c % kChunk == kChunk - 32 ? (x.rows - 1) * kChunk + 32 : 32;
  }
#pragma GCC unroll 2
  for (int n = 0; n < kW; ++n) add_lanes<kX>(sums + n * kX, sum[n]);
}

}  // namespace humanizer::HUMANIZER_ISA
