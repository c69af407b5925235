// Three phases on all threads: x to bf16, W to bf16 panels of kBf16Cols columns with the pairs of a column side by
// side, then tiles of kBf16Rows x kBf16Cols of y. Of the tiles' factors the panel streams from L2, the rows of x too:
// 14 x 32 sums for 2 + 14 loads keep the multipliers busy.
#include "bf16_matmul.h"

#include <immintrin.h>
#include <omp.h>

#include "held_rows.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int64_t kDepth = 512;      // pairs summed before y is written: a panel's part lies in L2
constexpr int64_t kRowsOfTask = 56;  // of x, used for a task's panels while they lie in L2
constexpr int64_t kPanelsOfTask = 6;

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Two neighbours of the dimension that is summed over, the first in the low half.
using Pair = uint32_t;

__mmask16 first(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1);
}

// Pairs of 32 neighbouring floats, zeros from count on.
__m512i pairs_of(const float* from, int64_t count) {
  const __m512 low = _mm512_maskz_loadu_ps(first(count), from);
  const __m512 high = _mm512_maskz_loadu_ps(first(count - 16), from + 16);
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

void transpose(__m512i x[16]) {
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

// Panel of W^T (in, out): 32 rows of W become its columns.
void pack_transposed(Pair* panel, ConstRows w, int64_t pairs) {
  for (int64_t half = 0; half < kBf16Cols; half += 16) {
    for (int64_t k = 0; k < pairs; k += 16) {
      __m512i rows[16];
      for (int64_t r = 0; r < 16; ++r) {
        rows[r] = half + r < w.rows ? pairs_of(w.row(half + r) + 2 * k, w.cols - 2 * k) : _mm512_setzero_si512();
      }
      transpose(rows);
      for (int64_t j = 0; j < smaller(16, pairs - k); ++j) {
        _mm512_store_si512(panel + (k + j) * kBf16Cols + half, rows[j]);
      }
    }
  }
}

// One row of every panel of W (out, in): two rows of W, the second null beyond the last.
void pack_two(Pair* panels, int64_t panel, const float* even, const float* odd, int64_t cols) {
  for (int64_t c = 0; c < cols; c += kBf16Cols, panels += panel) {
    for (int64_t half = 0; half < kBf16Cols; half += 16) {
      const int64_t at = c + half;
      const __mmask16 mask = first(cols - at);
      const auto bits = [&](const float* row) {
        return _mm512_cvtepu16_epi32(
            reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, row + at))));
      };
      const __m512i high = odd ? _mm512_slli_epi32(bits(odd), 16) : _mm512_setzero_si512();
      _mm512_store_si512(panels + half, _mm512_or_si512(bits(even), high));
    }
  }
}

// c = or += a b for kBf16Rows rows of a and one panel b, of which rows x cols exist.
void multiply_tile(Rows c, bool add, const Pair* a, int64_t a_stride, const Pair* b, int64_t pairs) {
  __m512 sum[kBf16Rows][2];
#pragma GCC unroll 14
  for (int64_t i = 0; i < kBf16Rows; ++i) sum[i][0] = sum[i][1] = _mm512_setzero_ps();
  for (int64_t k = 0; k < pairs; ++k, ++a, b += kBf16Cols) {
    const auto b0 = reinterpret_cast<__m512bh>(_mm512_load_si512(b));
    const auto b1 = reinterpret_cast<__m512bh>(_mm512_load_si512(b + 16));
#pragma GCC unroll 14
    for (int64_t i = 0; i < kBf16Rows; ++i) {
      const auto x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(a[i * a_stride])));
      sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, b0);
      sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, b1);
    }
  }
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

}  // namespace

void bf16_matmul(Rows y, ConstRows x, const HeldMatrix& w, Transpose transposed, float beta, float* scratch) {
  const bool by_rows = transposed == Transpose::kNT;
  const int64_t pairs = (x.cols + 1) / 2, x_stride = (x.cols + 31) / 32 * 16, panel = pairs * kBf16Cols;
  const int64_t decoded = bf16_rows_decoded(w), of_thread = round_up(decoded * w.cols, 16);
  scratch += (64 - reinterpret_cast<uintptr_t>(scratch) % 64) % 64 / 4;
  auto* panels = reinterpret_cast<Pair*>(scratch + omp_get_max_threads() * of_thread);
  Pair* rows = panels + (y.cols + kBf16Cols - 1) / kBf16Cols * panel;
  const int64_t panel_count = (y.cols + kBf16Cols - 1) / kBf16Cols;
#pragma omp parallel
  {
    float* values = scratch + omp_get_thread_num() * of_thread;
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < round_up(x.rows, kBf16Rows); ++r) {
      for (int64_t k = 0; k < x_stride; k += 16) {
        _mm512_store_si512(rows + r * x_stride + k,
                           r < x.rows ? pairs_of(x.row(r) + 2 * k, x.cols - 2 * k) : _mm512_setzero_si512());
      }
    }
#pragma omp for schedule(static)
    for (int64_t begin = 0; begin < w.rows; begin += decoded) {
      const int64_t count = smaller(decoded, w.rows - begin);
      decode_rows(values, w, begin, count);
      const ConstRows part = dense(static_cast<const float*>(values), count, w.cols);
      if (by_rows) {
        for (int64_t r = 0; r < count; r += kBf16Cols) {
          pack_transposed(panels + (begin + r) / kBf16Cols * panel, slice(part, r, smaller(kBf16Cols, count - r)),
                          pairs);
        }
      } else {
        for (int64_t r = 0; r < count; r += 2) {
          pack_two(panels + (begin + r) / 2 * kBf16Cols, panel, part.row(r), r + 1 < count ? part.row(r + 1) : nullptr,
                   w.cols);
        }
      }
    }
    const int64_t groups = (panel_count + kPanelsOfTask - 1) / kPanelsOfTask;
    const int64_t blocks = (x.rows + kRowsOfTask - 1) / kRowsOfTask;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < groups * blocks; ++task) {
      const int64_t first_panel = task / blocks * kPanelsOfTask, row = task % blocks * kRowsOfTask;
      const int64_t last_panel = smaller(panel_count, first_panel + kPanelsOfTask);
      for (int64_t k = 0; k < pairs; k += kDepth) {
        for (int64_t p = first_panel; p < last_panel; ++p) {
          const Rows to = columns(y, p * kBf16Cols, smaller(kBf16Cols, y.cols - p * kBf16Cols));
          for (int64_t r = row; r < smaller(x.rows, row + kRowsOfTask); r += kBf16Rows) {
            multiply_tile(slice(to, r, smaller(kBf16Rows, x.rows - r)), k > 0 || beta != 0, rows + r * x_stride + k,
                          x_stride, panels + p * panel + k * kBf16Cols, smaller(kDepth, pairs - k));
          }
        }
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
