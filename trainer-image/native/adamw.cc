#include "adamw.h"

#include <cmath>
#include <cstring>

namespace humanizer::HUMANIZER_ISA {

namespace {
constexpr int64_t kBlock = 4096, kParts = 256;
}

void gradient_norm(GradientNorm* norm, const float* gradient, int64_t count, double gradient_scale) {
  const int64_t size = (count + kParts * kBlock - 1) / (kParts * kBlock) * kBlock;  // of a part: whole blocks
  double parts[kParts] = {};
#pragma omp parallel for schedule(static)
  for (int64_t part = 0; part < kParts; ++part) {
    const int64_t last = (part + 1) * size < count ? (part + 1) * size : count;
    for (int64_t begin = part * size; begin < last; begin += kBlock) {
      const int64_t end = begin + kBlock < last ? begin + kBlock : last;
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = begin; i < end; ++i) sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
      parts[part] += sum;
    }
  }
  double squares = 0;
  for (const double sum : parts) squares += sum;
  norm->norm = std::sqrt(squares) * std::fabs(gradient_scale);
  norm->skip = std::isfinite(norm->norm) ? 0 : 1;
}

void adamw_update(float* parameter, float* gradient, float* first, float* second, int64_t count,
                  const GradientNorm* norm, const AdamwOptions& o) {
  if (!norm->skip) {
    // torch.nn.utils.clip_grad_norm_: the 1e-6 is its own.
    const double clip = o.max_gradient_norm > 0 ? std::fmin(1.0, o.max_gradient_norm / (norm->norm + 1e-6)) : 1.0;
    const float scale = static_cast<float>(o.gradient_scale * clip);
    const float decay = static_cast<float>(1 - o.learning_rate * o.weight_decay);
    const float beta1 = static_cast<float>(o.beta1), beta2 = static_cast<float>(o.beta2);
    const float rest1 = static_cast<float>(1 - o.beta1), rest2 = static_cast<float>(1 - o.beta2);
    const double t = static_cast<double>(o.step);
    const float rate = static_cast<float>(o.learning_rate / (1 - std::pow(o.beta1, t)));
    const float correction = static_cast<float>(1 / std::sqrt(1 - std::pow(o.beta2, t)));
    const float epsilon = static_cast<float>(o.epsilon);
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      const float g = scale * gradient[i];
      const float m = beta1 * first[i] + rest1 * g;
      const float v = beta2 * second[i] + rest2 * g * g;
      first[i] = m;
      second[i] = v;
      gradient[i] = 0;
      parameter[i] = parameter[i] * decay - rate * m / (std::sqrt(v) * correction + epsilon);
    }
  } else {
    std::memset(gradient, 0, static_cast<size_t>(count) * sizeof(float));
  }
}

}  // namespace humanizer::HUMANIZER_ISA
