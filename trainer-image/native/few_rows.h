// y = beta y + x W^T for the few rows of a decoding step, where a product is as slow as reading its weight: W is
// decoded a tile at a time, small enough for the nearest cache, and multiplied from there. Never the whole of W in f32.
//   x (R, in)   y (R, out)   W (out, in) as it is held   beta 0 or 1
#pragma once

#include <cstdint>
#include <numeric>

#include "formats.h"
#include "nf4.h"
#include "tensor.h"

namespace humanizer {

// More rows than this are quicker by a decoded W and matmul.
inline constexpr int64_t kFewRows = 8;

// Few rows and many go ways whose sums have another order. In generation with bf16 factors, where a last bit may round
// another way and become another word, it is the request that says which, not how many rows of it are read at once.
enum class RowsWay { kByCount, kFew, kMany };
static inline bool few_rows(RowsWay way, int64_t rows) {
  return way == RowsWay::kByCount ? rows <= kFewRows : way == RowsWay::kFew;
}

// A matrix as it is held: NF4 when nf4.codes is set, else stored in a format of formats.h.
struct HeldMatrix {
  const uint8_t* stored;
  Format format;
  Nf4Tensor nf4;
  int64_t rows, cols;
};

// Rows of W that are a whole number of NF4 blocks.
static inline int64_t nf4_step(const HeldMatrix& w) {
  return w.nf4.codes ? w.nf4.block / std::gcd(w.nf4.block, w.cols) : 1;
}

// Rows of W in a tile: some 8192 values, a whole number of NF4 blocks, and of eights, which few_rows_bf16 writes at
// once.
static inline int64_t few_rows_tile(const HeldMatrix& w) {
  const int64_t step = std::lcm(nf4_step(w), int64_t{8});
  return (8192 / w.cols / step + 1) * step;
}

// scratch: threads * few_rows_tile * in floats.
using FewRowsMatmul = void(Rows y, ConstRows x, const HeldMatrix& w, float beta, float* scratch);

}  // namespace humanizer
