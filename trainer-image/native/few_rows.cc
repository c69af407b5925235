#include "few_rows.h"

#include <omp.h>

namespace humanizer::HUMANIZER_ISA {

DecodeOp decode_tile;
Nf4DequantizeOp nf4_dequantize_tile;

namespace {

typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

inline __attribute__((always_inline)) const Eight& load(const float* at) { return *reinterpret_cast<const Eight*>(at); }

// Four vectors of sums: one alone would wait for its own last addition.
float dot(const float* a, const float* b, int64_t count) {
  Eight s0{}, s1{}, s2{}, s3{};
  int64_t i = 0;
  for (; i + 32 <= count; i += 32) {
    s0 += load(a + i) * load(b + i);
    s1 += load(a + i + 8) * load(b + i + 8);
    s2 += load(a + i + 16) * load(b + i + 16);
    s3 += load(a + i + 24) * load(b + i + 24);
  }
  const Eight sums = (s0 + s1) + (s2 + s3);
  float sum = 0;
  for (int k = 0; k < 8; ++k) sum += sums[k];
  for (; i < count; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

void few_rows_matmul(Rows y, ConstRows x, const HeldMatrix& w, float beta, float* scratch) {
  const int64_t tile = few_rows_tile(w), tiles = (w.rows + tile - 1) / tile;
#pragma omp parallel
  {
    float* values = scratch + omp_get_thread_num() * tile * w.cols;
#pragma omp for schedule(static)
    for (int64_t t = 0; t < tiles; ++t) {
      const int64_t begin = t * tile, rows = begin + tile < w.rows ? tile : w.rows - begin;
      if (w.nf4.codes) {
        nf4_dequantize_tile(values, w.nf4, begin * w.cols, rows * w.cols);
      } else {
        const FormatSize size = format_size(w.format);
        decode_tile(values, w.stored + begin * w.cols / size.values * size.bytes, rows * w.cols, w.format);
      }
      for (int64_t o = 0; o < rows; ++o) {
        for (int64_t r = 0; r < x.rows; ++r) {
          float& out = y.row(r)[begin + o];
          out = dot(values + o * w.cols, x.row(r), w.cols) + (beta == 0 ? 0.0f : out);
        }
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
