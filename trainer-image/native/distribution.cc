#include "distribution.h"

#include <cmath>

#include "vector_math.h"

namespace humanizer::HUMANIZER_ISA {

void distribution_scan(RowDistribution* rows, ConstRows z, const int32_t* labels, int64_t first) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < z.rows; ++r) {
    if (first == 0) rows[r] = {0, 0, 0, -INFINITY, 0};
    RowDistribution& of = rows[r];
    const float* row = z.row(r);
    float maximum = of.maximum;
#pragma omp simd reduction(max : maximum)
    for (int64_t c = 0; c < z.cols; ++c) maximum = row[c] > maximum ? row[c] : maximum;
    // About the new maximum every d is less by `down`: sum exp(d - down) (d - down)^n, expanded.
    if (of.total > 0) {
      const double down = static_cast<double>(maximum) - static_cast<double>(of.maximum), scale = std::exp(-down);
      of.second = scale * (of.second - 2 * down * of.first + down * down * of.total);
      of.first = scale * (of.first - down * of.total);
      of.total *= scale;
    }
    for (int64_t begin = 0; begin < z.cols; begin += 1024) {  // f32 inside 1024, f64 across
      const int64_t end = begin + 1024 < z.cols ? begin + 1024 : z.cols;
      float total = 0, linear = 0, square = 0;
#pragma omp simd reduction(+ : total, linear, square)
      for (int64_t c = begin; c < end; ++c) {
        const float d = row[c] - maximum, e = exp_approx(d);
        total += e;
        linear += e * d;
        square += e * d * d;
      }
      of.total += static_cast<double>(total);
      of.first += static_cast<double>(linear);
      of.second += static_cast<double>(square);
    }
    of.maximum = maximum;
    const int64_t label = labels[r] - first;
    if (label >= 0 && label < z.cols) of.target = row[label];
  }
}

}  // namespace humanizer::HUMANIZER_ISA
