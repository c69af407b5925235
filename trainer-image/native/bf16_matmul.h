// A product with frozen matrices in bf16, on processors that multiply pairs of bf16 into f32 (vdpbf16ps): both factors
// are rounded to the nearest bf16, ties to even; products and sums are f32. W is rounded from its f32 values, NF4 too.
//   kNT  y (T, out) = beta y + x (T, in) W^T
//   kNN  y (T, in)  = beta y + x (T, out) W          W (out, in) = [parts[0]; parts[1]; ...] as they are held
// A row's sums are taken in an order that only W's shape sets: the same bits for any number of threads, whatever rows
// stand beside it.
#pragma once

#include <numeric>

#include "few_rows.h"
#include "matmul.h"

namespace humanizer {

inline constexpr int64_t kBf16Rows = 14, kBf16Cols = 32;  // of y in the registers

// Rows of W that one thread decodes at a time: whole panels, and a whole number of NF4 blocks.
static inline int64_t bf16_rows_decoded(const HeldMatrix& w) { return std::lcm(nf4_step(w), kBf16Cols); }

// Pairs from one row of x to the next: an odd number of cache lines, since the rows of a tile are read side by side and
// would fall into the same few sets of the nearest cache.
static inline int64_t bf16_row_pairs(int64_t cols) { return ((cols + 31) / 32 | 1) * 16; }

// Floats of scratch for either product, of any number of rows: W as pairs of bf16, and of each thread rows that it
// decodes and a tile's rows of x.
static inline int64_t bf16_scratch(int threads, const HeldMatrix* parts, int64_t count) {
  const int64_t in = (parts[0].cols + 31) / 32 * 32;
  int64_t out = 0, decoded = 0;
  for (int64_t i = 0; i < count; ++i) {
    out += (parts[i].rows + 31) / 32 * 32;
    const int64_t values = bf16_rows_decoded(parts[i]) * parts[i].cols;
    decoded = values > decoded ? values : decoded;
  }
  const int64_t of_thread = (decoded + 15) / 16 * 16 + kBf16Rows * bf16_row_pairs(out > in ? out : in);
  return 16 + out * in / 2 + threads * of_thread;
}

// transpose: kNT or kNN. beta: 0 or 1. count: of the parts, 1 or more. scratch: bf16_scratch floats.
using Bf16Matmul = void(Rows y, ConstRows x, const HeldMatrix* parts, int64_t count, Transpose transpose, float beta,
                        float* scratch);

}  // namespace humanizer
