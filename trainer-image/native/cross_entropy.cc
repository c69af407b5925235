#include "cross_entropy.h"

#include <cmath>

#include "vector_math.h"

namespace humanizer::HUMANIZER_ISA {

void cross_entropy(double* nll, Rows z, const int32_t* labels, bool gradient) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < z.rows; ++r) {
    float* row = z.row(r);
    float maximum = row[0];
#pragma omp simd reduction(max : maximum)
    for (int64_t c = 0; c < z.cols; ++c) maximum = row[c] > maximum ? row[c] : maximum;
    const float target = row[labels[r]];
    double total = 0;  // f32 inside a block of 1024, f64 across: V can be 128,256
    for (int64_t begin = 0; begin < z.cols; begin += 1024) {
      const int64_t end = begin + 1024 < z.cols ? begin + 1024 : z.cols;
      float sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t c = begin; c < end; ++c) {
        const float e = exp_approx(row[c] - maximum);
        row[c] = e;
        sum += e;
      }
      total += static_cast<double>(sum);
    }
    // A NaN or an infinity among the logits must not come out as a finite loss.
    nll[r] = std::log(total) + static_cast<double>(maximum) - static_cast<double>(target);
    if (!gradient) continue;
    const float reciprocal = static_cast<float>(1.0 / total);
#pragma omp simd
    for (int64_t c = 0; c < z.cols; ++c) row[c] *= reciprocal;
    row[labels[r]] -= 1.0f;
  }
}

}  // namespace humanizer::HUMANIZER_ISA
