#include "swiglu.h"

#include "hand_off.h"
#include "vector_math.h"

namespace humanizer::HUMANIZER_ISA {

void swiglu_forward(Rows y, ConstRows gu) {
#pragma omp parallel for schedule(static) if (y.rows * y.cols > kWorthThreads)
  for (int64_t r = 0; r < y.rows; ++r) {
    const float *gate = gu.row(r), *up = gate + y.cols;
    float *out = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < y.cols; ++c) out[c] = gate[c] / (1.0f + exp_approx(-gate[c])) * up[c];
  }
}

void swiglu_backward(Rows dgu, ConstRows dy, ConstRows gu) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < dy.rows; ++r) {
    const float *gate = gu.row(r), *up = gate + dy.cols, *gradient = dy.row(r);
    float *dgate = dgu.row(r), *dup = dgate + dy.cols;
#pragma omp simd
    for (int64_t c = 0; c < dy.cols; ++c) {
      const float g = gate[c], u = up[c];
      const float s = 1.0f / (1.0f + exp_approx(-g));
      dup[c] = gradient[c] * g * s;
      dgate[c] = gradient[c] * u * s * (1.0f + g * (1.0f - s));
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
