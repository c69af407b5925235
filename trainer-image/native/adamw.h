// AdamW (Loshchilov and Hutter), torch's order of operations, over one flat array of parameters:
//   g = gradientScale * clip * gradient
//   p -= lr * weightDecay * p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//   p -= lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)
// The update reads the norm from memory and skips itself when that is not finite, so that a device need not wait for
// the host.
#pragma once

#include <cstdint>

namespace humanizer {

struct GradientNorm {
  double norm;   // of gradientScale * gradient, before clipping
  int32_t skip;  // 1: not finite, the update leaves everything as it is
};

struct AdamwOptions {
  double learning_rate, gradient_scale, max_gradient_norm /* 0: no clipping */, beta1, beta2, epsilon, weight_decay;
  int64_t step;  // 1-based
};

// Sums in parts whose size only count sets, added in order: the same bits for any number of threads.
using GradientNormOp = void(GradientNorm* norm, const float* gradient, int64_t count, double gradient_scale);
// Zeroes the gradient, skipped or not.
using AdamwUpdate = void(float* parameter, float* gradient, float* first, float* second, int64_t count,
                         const GradientNorm* norm, const AdamwOptions& options);

}  // namespace humanizer
