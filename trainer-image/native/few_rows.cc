#include "few_rows.h"

#include <omp.h>

#include "held_rows.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

// sums[r] = w . x[r] for kRows rows of x: a register of w is loaded once for all of them.
template <int kRows>
void dots(float* sums, const float* w, const ConstRows& x, int64_t row, int64_t count) {
  constexpr int kChains = kRows == 1 ? 4 : 2;  // one chain alone would wait for its own last addition
  Lanes chain[kRows][kChains] = {};
  int64_t i = 0;
  for (; i + kChains * kLanes <= count; i += kChains * kLanes) {
    for (int k = 0; k < kChains; ++k) {
      const Lanes weight = load(w + i + k * kLanes);
      for (int r = 0; r < kRows; ++r) {
        chain[r][k] = multiply_add(weight, load(x.row(row + r) + i + k * kLanes), chain[r][k]);
      }
    }
  }
  for (int r = 0; r < kRows; ++r) {
    Lanes all = chain[r][0];
    for (int k = 1; k < kChains; ++k) all += chain[r][k];
    float sum = 0;
    for (int k = 0; k < kLanes; ++k) sum += all[k];
    for (int64_t j = i; j < count; ++j) sum += w[j] * x.row(row + r)[j];
    sums[r] = sum;
  }
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
      decode_rows(values, w, begin, rows);
      for (int64_t o = 0; o < rows; ++o) {
        float sums[4];
        for (int64_t row = 0, step; row < x.rows; row += step) {
          step = x.rows - row >= 4 ? 4 : 1;
          (step == 4 ? dots<4> : dots<1>)(sums, values + o * w.cols, x, row, w.cols);
          for (int64_t r = 0; r < step; ++r) {
            float& out = y.row(row + r)[begin + o];
            out = sums[r] + (beta == 0 ? 0.0f : out);
          }
        }
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
