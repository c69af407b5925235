#include "rmsnorm.h"

#include <cmath>

#include "hand_off.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

void scale_row(float* out, const float* in, const float* w, float scale, int64_t count) {
#pragma omp simd
  for (int64_t c = 0; c < count; ++c) out[c] = in[c] * scale * w[c];
}

}  // namespace

void rmsnorm_replay(Rows y, const float* rstd, ConstRows x, const float* w) {
#pragma omp parallel for schedule(static) if (x.rows * x.cols > kWorthThreads)
  for (int64_t r = 0; r < x.rows; ++r) scale_row(y.row(r), x.row(r), w, rstd[r], x.cols);
}

void rmsnorm_forward(Rows y, float* rstd, ConstRows x, const float* w, float eps) {
#pragma omp parallel for schedule(static) if (x.rows * x.cols > kWorthThreads)
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* in = x.row(r);
    float squares = 0;
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < x.cols; ++c) squares += in[c] * in[c];
    rstd[r] = 1.0f / std::sqrt(squares / static_cast<float>(x.cols) + eps);
    scale_row(y.row(r), in, w, rstd[r], x.cols);
  }
}

void rmsnorm_backward(Rows dx, ConstRows dy, ConstRows x, const float* rstd, const float* w) {
#pragma omp parallel for schedule(static) if (x.rows * x.cols > kWorthThreads)
  for (int64_t r = 0; r < x.rows; ++r) {
    const float *in = x.row(r), *gradient = dy.row(r);
    float* out = dx.row(r);
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < x.cols; ++c) dot += in[c] * w[c] * gradient[c];
    const float scale = rstd[r];
    const float mean = scale * scale * dot / static_cast<float>(x.cols);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) out[c] += scale * (w[c] * gradient[c] - in[c] * mean);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
