// One element of AdamW (adamw.h), with the roundings of the .cc: adamw.cu and adamw8bit.cu.
#pragma once

#include "adamw.h"
#include "device.cuh"

namespace humanizer::cuda {

// What the host knows of a step; the norm's part is left to the device.
struct AdamwStep {
  AdamwScalars scalars;
  double gradient_scale, max_gradient_norm;
};

inline AdamwStep adamw_step(const AdamwOptions& o) {
  return {adamw_scalars({0, 0}, o), o.gradient_scale, o.max_gradient_norm};
}

// The clip is f64 and costs a division: one thread of a block makes it for all. shared: one float.
__device__ inline AdamwScalars scalars_of(const AdamwStep& step, const GradientNorm& norm, float* shared) {
  if (threadIdx.x == 0) {
    const double clip = step.max_gradient_norm > 0 ? fmin(1.0, step.max_gradient_norm / (norm.norm + 1e-6)) : 1.0;
    *shared = static_cast<float>(step.gradient_scale * clip);
  }
  __syncthreads();
  AdamwScalars s = step.scalars;
  s.scale = *shared;
  return s;
}

__device__ inline float first_moment(const AdamwScalars& s, float m, float g) {
  return add(mul(s.beta1, m), mul(s.rest1, g));
}
__device__ inline float second_moment(const AdamwScalars& s, float v, float g) {
  return add(mul(s.beta2, v), mul(mul(s.rest2, g), g));
}
__device__ inline float updated(const AdamwScalars& s, float p, float m, float v) {
  const float divisor = add(mul(__fsqrt_rn(v), s.correction), s.epsilon);
  return add(mul(p, s.decay), -__fdiv_rn(mul(s.rate, m), divisor));
}

}  // namespace humanizer::cuda
