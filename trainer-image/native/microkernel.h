// The register tile that the small products are made of:  t[i][j] = sum_k a(i, k) b(k, j)  for kTileRows x kTileCols
// values. a is read where it lies, any stride; b lies in panels of kTileCols columns, row k of a panel after row k - 1:
// pack_panel and pack_panel_transposed write them, zeros where the matrix ends. Everything here is static or always
// inline: each instruction path has its own.
#pragma once

#include <cstdint>

#include "tensor.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace humanizer {

// One register of floats, and a * b + c in one rounding where the processor has that.
#if defined(__AVX512F__)
inline constexpr int kLanes = 16;
#elif defined(__AVX2__)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif
typedef float Lanes __attribute__((vector_size(kLanes * 4)));
typedef float LanesInMemory __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

#define HUMANIZER_INLINE static inline __attribute__((always_inline))

HUMANIZER_INLINE Lanes load(const float* at) { return *reinterpret_cast<const LanesInMemory*>(at); }
HUMANIZER_INLINE void store(float* at, Lanes value) { *reinterpret_cast<LanesInMemory*>(at) = value; }
HUMANIZER_INLINE Lanes broadcast(float value) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(value);
#elif defined(__AVX2__)
  return _mm256_set1_ps(value);
#else
  return Lanes{value, value, value, value};
#endif
}

HUMANIZER_INLINE Lanes multiply_add(Lanes a, Lanes b, Lanes c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#else
  return a * b + c;
#endif
}

inline constexpr int64_t kTileRows = 6, kTileCols = 2 * kLanes;

static inline int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

struct Tile {
  Lanes at[kTileRows][2];
};

// a(i, k) = a[i * row + k * step],  b(k, j) = b[k * b_step + j]: a panel's step is kTileCols.
HUMANIZER_INLINE Tile multiply(const float* a, int64_t row, int64_t step, const float* b, int64_t b_step,
                               int64_t depth) {
  Tile t{};
  for (int64_t k = 0; k < depth; ++k, a += step, b += b_step) {
    const Lanes b0 = load(b), b1 = load(b + kLanes);
#pragma GCC unroll 6
    for (int64_t i = 0; i < kTileRows; ++i) {
      const Lanes x = broadcast(a[i * row]);
      t.at[i][0] = multiply_add(x, b0, t.at[i][0]);
      t.at[i][1] = multiply_add(x, b1, t.at[i][1]);
    }
  }
  return t;
}

// c = t, or c += t, for a whole tile.
template <bool kAdd>
HUMANIZER_INLINE void write_tile(float* c, int64_t stride, const Tile& t) {
#pragma GCC unroll 6
  for (int64_t i = 0; i < kTileRows; ++i, c += stride) {
    store(c, kAdd ? load(c) + t.at[i][0] : t.at[i][0]);
    store(c + kLanes, kAdd ? load(c + kLanes) + t.at[i][1] : t.at[i][1]);
  }
}

// c = t, or c += t, for the rows x cols of a tile that exist.
template <bool kAdd>
HUMANIZER_INLINE void write_part(float* c, int64_t stride, const Tile& t, int64_t rows, int64_t cols) {
  if (rows >= kTileRows && cols >= kTileCols) return write_tile<kAdd>(c, stride, t);
  alignas(64) float whole[kTileRows * kTileCols];
  write_tile<false>(whole, kTileCols, t);
  for (int64_t i = 0; i < rows && i < kTileRows; ++i) {
    for (int64_t j = 0; j < cols && j < kTileCols; ++j) {
      c[i * stride + j] = whole[i * kTileCols + j] + (kAdd ? c[i * stride + j] : 0.0f);
    }
  }
}

// The panel [column, column + kTileCols) of scale * b (K, N); panel: K * kTileCols floats.
static inline void pack_panel(float* panel, ConstRows b, int64_t column, float scale) {
  const int64_t size = b.cols - column < kTileCols ? b.cols - column : kTileCols;
  for (int64_t k = 0; k < b.rows; ++k, panel += kTileCols) {
    const float* from = b.row(k) + column;
    for (int64_t j = 0; j < size; ++j) panel[j] = scale * from[j];
    for (int64_t j = size; j < kTileCols; ++j) panel[j] = 0;
  }
}

// The same panel of scale * b^T, b (N, K).
static inline void pack_panel_transposed(float* panel, ConstRows b, int64_t column, float scale) {
  const int64_t size = b.rows - column < kTileCols ? b.rows - column : kTileCols;
  for (int64_t j = 0; j < kTileCols; ++j) {
    const float* from = j < size ? b.row(column + j) : nullptr;
    for (int64_t k = 0; k < b.cols; ++k) panel[k * kTileCols + j] = from ? scale * from[k] : 0.0f;
  }
}

HUMANIZER_INLINE float add_lanes(Lanes lanes) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(lanes);
#else
  float sum = 0;
  for (int k = 0; k < kLanes; ++k) sum += lanes[k];
  return sum;
#endif
}

// sum a[i] b[i]
HUMANIZER_INLINE float dot(const float* a, const float* b, int64_t count) {
  Lanes s0{}, s1{};  // one alone would wait for its own last addition
  int64_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    s0 = multiply_add(load(a + i), load(b + i), s0);
    s1 = multiply_add(load(a + i + kLanes), load(b + i + kLanes), s1);
  }
  float sum = add_lanes(s0 + s1);
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

// vector_math.h's exp_approx in a register.
HUMANIZER_INLINE Lanes exp_lanes(Lanes x) {
  typedef int32_t Integers __attribute__((vector_size(kLanes * 4)));
  x = x > 88.0f ? broadcast(88.0f) : x;
  x = x < -87.0f ? broadcast(-87.0f) : x;
  const Lanes shifted = x * 1.44269504088896341f + 12582912.0f, n = shifted - 12582912.0f;
  const Lanes r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  Lanes p = broadcast(1.9875691500e-4f);
  constexpr float kTerms[] = {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f};
  for (const float term : kTerms) p = multiply_add(p, r, broadcast(term));
  p = multiply_add(p * r, r, r) + 1.0f;
  const Integers exponent = (reinterpret_cast<Integers>(shifted) - 0x4b400000 + 127) << 23;
  return p * reinterpret_cast<Lanes>(exponent);
}

}  // namespace humanizer
