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
