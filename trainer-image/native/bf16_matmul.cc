// Three phases on all threads: x to bf16, W to bf16 panels of kBf16Cols columns with the pairs of a column side by
// side, then tiles of kBf16Rows x kBf16Cols of y. Of the tiles' factors the panel streams from L2, the rows of x too:
// 14 x 32 sums for 2 + 14 loads keep the multipliers busy.
#include "bf16_matmul.h"

#include <omp.h>

#include "bf16_tile.h"
#include "held_rows.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int64_t kDepth = 512;      // pairs summed before y is written: a panel's part lies in L2
constexpr int64_t kRowsOfTask = 56;  // of x, used for a task's panels while they lie in L2
constexpr int64_t kPanelsOfTask = 6;

// values = the next `count` of W in NF4, each the bf16 of its f32 value: a table of the block's sixteen, twice, since a
// look-up reads five bits of each 16.
void look_up(Bf16* values, const uint8_t* codes, int64_t count, const float* code, float absmax) {
  const __m512 scaled = _mm512_loadu_ps(code) * absmax;
  const auto table = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(scaled, scaled));
  for (int64_t i = 0; i < count; i += 32) {
    const __m128i bytes = _mm_maskz_loadu_epi8(first((count - i + 1) / 2), codes + i / 2);
    const __m512i both = _mm512_cvtepu8_epi32(bytes);  // the high nibble is the first
    const __m512i places = _mm512_or_si512(_mm512_srli_epi32(both, 4), _mm512_slli_epi32(both, 16));
    _mm512_mask_storeu_epi16(values + i, first_of_32(count - i), _mm512_permutexvar_epi16(places, table));
  }
}

// Rows [begin, begin + count) of W as bf16: W's own, or in `values`, which has room for them in f32. begin is a
// multiple of nf4_step.
const Bf16* bf16_rows(float* values, const HeldMatrix& w, int64_t begin, int64_t count) {
  const int64_t size = count * w.cols;
  if (w.nf4.codes) {
    const Nf4Tensor& t = w.nf4;
    auto* to = reinterpret_cast<Bf16*>(values);
    for (int64_t i = 0; i < size; i += t.block) {
      const int64_t at = begin * w.cols + i;
      float absmax;
      nf4_absmax(&absmax, t, at / t.block, 1);
      look_up(to + i, t.codes + at / 2, smaller(t.block, size - i), t.code, absmax);
    }
    return to;
  }
  if (w.format == Format::kBF16) return reinterpret_cast<const Bf16*>(w.stored) + begin * w.cols;
  decode_rows(values, w, begin, count);
  return rounded(values, size);
}

}  // namespace

void bf16_matmul(Rows y, ConstRows x, const HeldMatrix& w, Transpose transposed, float beta, float* scratch) {
  const bool by_rows = transposed == Transpose::kNT;
  const int64_t pairs = (x.cols + 1) / 2, x_stride = bf16_row_pairs(x.cols), panel = pairs * kBf16Cols;
  const int64_t decoded = bf16_rows_decoded(w), of_thread = round_up(decoded * w.cols, 16);
  scratch = aligned(scratch);
  Pair* panels = pairs_at(scratch + omp_get_max_threads() * of_thread);
  Pair* rows = panels + (y.cols + kBf16Cols - 1) / kBf16Cols * panel;
  const int64_t panel_count = (y.cols + kBf16Cols - 1) / kBf16Cols;
#pragma omp parallel
  {
    float* values = scratch + omp_get_thread_num() * of_thread;
#pragma omp for schedule(static) nowait
    for (int64_t r = 0; r < round_up(x.rows, kBf16Rows); ++r) {
      for (int64_t k = 0; k < pairs; k += 16) {
        _mm512_store_si512(rows + r * x_stride + k,
                           r < x.rows ? pairs_of(x.row(r) + 2 * k, x.cols - 2 * k) : _mm512_setzero_si512());
      }
    }
#pragma omp for schedule(static)
    for (int64_t begin = 0; begin < w.rows; begin += decoded) {
      const int64_t count = smaller(decoded, w.rows - begin);
      const Bf16* part = bf16_rows(values, w, begin, count);
      if (by_rows) {
        for (int64_t r = 0; r < count; r += kBf16Cols) {
          pack_transposed(panels + (begin + r) / kBf16Cols * panel, part + r * w.cols, w.cols,
                          smaller(kBf16Cols, count - r), w.cols);
        }
      } else {
        for (int64_t r = 0; r < count; r += 2) {
          const Bf16* even = part + r * w.cols;
          pack_two(panels + (begin + r) / 2 * kBf16Cols, panel, even, r + 1 < count ? even + w.cols : nullptr, w.cols);
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
