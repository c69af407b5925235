// What the cases of ops.cc and of the files beside it are made of.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend.h"

namespace humanizer {

// Central differences with step 1e-2 in f32: the rounding of the loss over the step, and its third derivative.
inline constexpr double kDifference = 3e-3;
// The same sums in vectors of another width.
inline constexpr double kReordered = 2e-6;

inline std::mt19937 generator(1);

// Floats between two runs of guards that no operation may touch.
class Guarded {
 public:
  explicit Guarded(int64_t count) : values_(static_cast<size_t>(count) + 2 * kGuard, kMark) {}
  static Guarded random(int64_t count, float scale = 1) {
    Guarded guarded(count);
    std::uniform_real_distribution<float> uniform(-scale, scale);
    for (float& value : guarded.span()) value = uniform(generator);
    return guarded;
  }
  static Guarded zeros(int64_t count) {
    Guarded guarded(count);
    std::ranges::fill(guarded.span(), 0.0f);
    return guarded;
  }
  float* data() { return values_.data() + kGuard; }
  std::span<float> span() { return {data(), values_.size() - 2 * kGuard}; }
  bool intact() const {
    return std::all_of(values_.begin(), values_.begin() + kGuard, [](float v) { return v == kMark; }) &&
           std::all_of(values_.end() - kGuard, values_.end(), [](float v) { return v == kMark; });
  }

 private:
  static constexpr int kGuard = 16;
  static constexpr float kMark = 12345.75f;
  std::vector<float> values_;
};

inline void report(const std::string& name, double error, double bound, bool intact = true) {
  if (!intact) {
    std::printf("not ok %s: wrote outside its output\n", name.c_str());
  } else if (error <= bound) {
    std::printf("ok %s\n", name.c_str());
  } else {
    std::printf("not ok %s: error %g, bound %g\n", name.c_str(), error, bound);
  }
}

// max |a - b| / max |b|
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, largest = 1e-30;
  for (size_t i = 0; i < b.size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    largest = std::max(largest, std::fabs(static_cast<double>(b[i])));
    if (!std::isfinite(a[i])) return INFINITY;
  }
  return difference / largest;
}

inline double weighted(std::span<const float> y, std::span<const float> weights) {
  double sum = 0;
  for (size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(y[i]) * static_cast<double>(weights[i]);
  return sum;
}

// The gradient of loss() with respect to each value of x.
inline std::vector<float> differences(std::span<float> x, const std::function<double()>& loss) {
  constexpr float step = 1e-2f;
  std::vector<float> gradient;
  for (float& value : x) {
    const float centre = value;
    value = centre + step;
    const double above = loss();
    value = centre - step;
    const double below = loss();
    value = centre;
    gradient.push_back(static_cast<float>((above - below) / (2.0 * static_cast<double>(step))));
  }
  return gradient;
}

inline std::string named(const Backend& b, const char* op, std::initializer_list<int64_t> shape) {
  std::string name = std::string(b.instruction_path) + " " + op;
  for (const int64_t size : shape) name.append(" ").append(std::to_string(size));
  return name;
}

// products.cc: products with few rows, and with bf16 factors.
void products(const Backend& b, int threads);
// attention.cc
void attention_cases(const Backend& b, int threads);
// lora.cc: LoRA with its dropout; AdamW, in 8 bits too.
void lora_cases(const Backend& b, int threads);
void dropout_cases();
void optimizer_cases(const Backend& b);
// sampling.cc
void sampling_cases();

}  // namespace humanizer
