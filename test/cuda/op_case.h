// Cases of the operations: a kernel's result under eight orders of threads against the .cc of the same op.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "backend.h"
#include "buffers.h"
#include "device_ops.cuh"
#include "ops.h"
#include "same_bits.h"

namespace humanizer::cuda {

// The same sums in another order, and functions of the last bit: f32.
inline constexpr double kReordered = 3e-6;
// One rounding to bf16 of a value that f32 may bring to the other side of its boundary: twice 2^-9 of the largest.
inline constexpr double kRounded = 1.0 / 256;

template <class T>
constexpr double bound_of(int roundings = 1) {
  return std::is_same_v<T, float> ? kReordered * roundings : kRounded * roundings;
}
template <class T>
constexpr const char* name_of() {
  return std::is_same_v<T, float> ? "f32" : "bf16";
}

inline std::mt19937 generator;  // seeded by each group of cases, which so has the same values alone and after others

// Values that T holds exactly, so that both sides start from the same.
template <class T>
std::vector<T> random_values(int64_t count, float scale = 1) {
  std::uniform_real_distribution<float> uniform(-scale, scale);
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) value = static_cast<T>(uniform(generator));
  return values;
}
inline std::vector<int32_t> random_integers(int64_t count, int32_t below) {
  std::uniform_int_distribution<int32_t> uniform(0, below - 1);
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int32_t& value : values) value = uniform(generator);
  return values;
}
template <class T = float>
std::vector<T> zeros(int64_t count) {
  return std::vector<T>(static_cast<size_t>(count));
}
template <class T>
std::vector<float> floats(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

template <class T>
View<T> view(const Device<T>& device, int64_t rows, int64_t cols) {
  return {device.data(), rows, cols, cols};
}

// max |a - b| / max |b|; infinite where only one is a finite number.
inline double relative_error(std::span<const float> a, std::span<const float> b) {
  double difference = 0, largest = 1e-30;
  for (size_t i = 0; i < b.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] == b[i]) continue;
    if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return INFINITY;
    difference = std::max(difference, std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  for (const float value : b)
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  return difference / largest;
}

inline void report(const std::string& name, const std::string& problem) {
  std::printf(problem.empty() ? "ok %s\n" : "not ok %s: %s\n", name.c_str(), problem.c_str());
}

inline std::string named(const char* op, const char* type, std::initializer_list<int64_t> shape) {
  std::string name = std::string(op) + " " + type;
  for (const int64_t size : shape) name.append(" ").append(std::to_string(size));
  return name;
}

// compute(stream) returns a vector of values of any type that floats() takes. bound 0: the same bits.
template <class Compute>
void check(const std::string& name, const std::vector<float>& expected, double bound, Compute compute) {
  decltype(compute(cudaStream_t{})) got;
  std::string problem = same_bits([&] {
    const Stream stream;
    return got = compute(stream);
  });
  if (problem.empty() && got.size() != expected.size()) problem = "another number of values";
  if (problem.empty()) {
    const double error = relative_error(floats(got), expected);
    if (!(error <= bound)) problem = "error " + std::to_string(error) + ", bound " + std::to_string(bound);
  }
  report(name, problem);
}

}  // namespace humanizer::cuda
