#include "adamw8bit.h"

#include <cmath>
#include <cstring>

#include "nf4.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

// Code of the value nearest to x, which is at most 1; halfway between two, the even one.
int nearest(const float* map, float x) {
  int low = 0;  // the last whose value is at most x
  for (int step = 128; step > 0; step /= 2) low += map[low + step] <= x ? step : 0;
  if (low == 255) return low;
  const float middle = (map[low] + map[low + 1]) * 0.5f;
  return x > middle || (x == middle && low % 2 == 1) ? low + 1 : low;
}

uint8_t code_of_first(float m, float absmax) {
  int code = nearest(kDynamicCode, m / absmax);
  if (std::signbit(kDynamicCode[code]) != std::signbit(m)) code += m > 0 ? 1 : -1;
  return static_cast<uint8_t>(code);
}

}  // namespace

void adamw8bit_update(float* parameter, float* gradient, const QuantizedMoments& moments, int64_t count,
                      const GradientNorm* norm, const AdamwOptions& options) {
  if (norm->skip) {
    std::memset(gradient, 0, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  const AdamwScalars s = adamw_scalars(*norm, options);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < (count + kMomentBlock - 1) / kMomentBlock; ++block) {
    const int64_t begin = block * kMomentBlock, size = count - begin < kMomentBlock ? count - begin : kMomentBlock;
    float *p = parameter + begin, *gradients = gradient + begin;
    uint8_t *first = moments.first + begin, *second = moments.second + begin;
    float first_absmax = moments.first_absmax[block], second_absmax = moments.second_absmax[block];
    float m[kMomentBlock], v[kMomentBlock];
    for (int64_t i = 0; i < size; ++i) {
      m[i] = kDynamicCode[first[i]] * first_absmax;
      v[i] = kUnsignedDynamicCode[second[i]] * second_absmax;
    }
    first_absmax = second_absmax = 0;
#pragma omp simd reduction(max : first_absmax, second_absmax)
    for (int64_t i = 0; i < size; ++i) {
      const float g = s.scale * gradients[i];
      m[i] = s.beta1 * m[i] + s.rest1 * g;
      v[i] = s.beta2 * v[i] + s.rest2 * g * g;
      const float magnitude = m[i] < 0 ? -m[i] : m[i];
      first_absmax = magnitude > first_absmax ? magnitude : first_absmax;
      second_absmax = v[i] > second_absmax ? v[i] : second_absmax;
      gradients[i] = 0;
      p[i] = p[i] * s.decay - s.rate * m[i] / (std::sqrt(v[i]) * s.correction + s.epsilon);
    }
    moments.first_absmax[block] = first_absmax;
    moments.second_absmax[block] = second_absmax;
    // A block of zeros: bitsandbytes divides by 0 there and its codes mean nothing.
    const float first_divisor = first_absmax > 0 ? first_absmax : 1.0f;
    const float second_divisor = second_absmax > 0 ? second_absmax : 1.0f;
    for (int64_t i = 0; i < size; ++i) {
      first[i] = code_of_first(m[i], first_divisor);
      second[i] = static_cast<uint8_t>(nearest(kUnsignedDynamicCode, v[i] / second_divisor));
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
