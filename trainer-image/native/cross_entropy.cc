#include "cross_entropy.h"

#include <cmath>

#include "vector_math.h"

namespace humanizer::HUMANIZER_ISA {

void cross_entropy_scan(RowSoftmax* rows, ConstRows z, const int32_t* labels, int64_t first) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < z.rows; ++r) {
    if (first == 0) rows[r] = {0, -INFINITY, 0};
    const float* row = z.row(r);
    float maximum = rows[r].maximum;
#pragma omp simd reduction(max : maximum)
    for (int64_t c = 0; c < z.cols; ++c) maximum = row[c] > maximum ? row[c] : maximum;
    double total = rows[r].total * std::exp(static_cast<double>(rows[r].maximum) - static_cast<double>(maximum));
    for (int64_t begin = 0; begin < z.cols; begin += 1024) {  // f32 inside 1024, f64 across: V can be 128,256
      const int64_t end = begin + 1024 < z.cols ? begin + 1024 : z.cols;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t c = begin; c < end; ++c) sum += exp_approx(row[c] - maximum);
      total += static_cast<double>(sum);
    }
    rows[r].total = total;
    rows[r].maximum = maximum;
    const int64_t label = labels[r] - first;
    if (label >= 0 && label < z.cols) rows[r].target = row[label];
  }
}

void cross_entropy_gradient(Rows dz, ConstRows z, const RowSoftmax* rows, const int32_t* labels, int64_t first) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < z.rows; ++r) {
    const float *row = z.row(r), maximum = rows[r].maximum, reciprocal = static_cast<float>(1.0 / rows[r].total);
    float* out = dz.row(r);
#pragma omp simd
    for (int64_t c = 0; c < z.cols; ++c) out[c] = exp_approx(row[c] - maximum) * reciprocal;
    const int64_t label = labels[r] - first;
    if (label >= 0 && label < z.cols) out[label] -= 1.0f;
  }
}

void cross_entropy_loss(double* nll, const RowSoftmax* rows, int64_t count) {
  for (int64_t r = 0; r < count; ++r) {
    nll[r] = std::log(rows[r].total) + static_cast<double>(rows[r].maximum) - static_cast<double>(rows[r].target);
  }
}

void loss_sums(double* sums, const double* nll, const int32_t* first, int64_t documents) {
  for (int64_t d = 0; d < documents; ++d) {
    for (int32_t r = first[d]; r < first[d + 1]; ++r) sums[d] += nll[r];
  }
}

}  // namespace humanizer::HUMANIZER_ISA
