#include "sampling.h"

#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>
#include <vector>

#include "vector_math.h"

namespace humanizer {

namespace {

// Non-negative floats are ordered as their bits are; sign, exponent and the first bits of the fraction make a class.
constexpr int kClassShift = 17;
constexpr size_t kClasses = (std::bit_cast<uint32_t>(2.0f) >> kClassShift) + 1;

// 0 of a NaN, too.
uint64_t units(float weight) { return weight > 0 ? static_cast<uint64_t>(weight * kWeightUnits) : 0; }

// The largest that comes after `before` in the order of value, then index; index -1: there is none.
struct Largest {
  float value;
  int64_t index;
};
Largest largest_after(const float* row, int64_t count, Largest before) {
  Largest best{-INFINITY, -1};
  for (int64_t c = 0; c < count; ++c) {
    const float x = row[c];
    if (!(x < before.value || (x == before.value && c > before.index))) continue;
    if (best.index < 0 || x > best.value) best = {x, c};
  }
  return best;
}

// The first of all.
Largest largest(const float* row, int64_t count) {
  float value = -INFINITY;
#pragma omp simd reduction(max : value)
  for (int64_t c = 0; c < count; ++c) value = row[c] > value ? row[c] : value;
  const float* at = std::find(row, row + count, value);
  return at == row + count ? Largest{-INFINITY, -1} : Largest{value, at - row};
}

uint64_t weigh(float* weights, const float* row, int64_t count, float maximum, float inverse_temperature) {
#pragma omp simd
  for (int64_t c = 0; c < count; ++c) weights[c] = exp_approx((row[c] - maximum) * inverse_temperature);
  uint64_t total = 0;
  for (int64_t c = 0; c < count; ++c) total += units(weights[c]);
  return total;
}

// The largest weight from which on all together have `wanted` units, and what they have. Only the weights of the class
// in which that is reached are sorted.
struct Nucleus {
  float threshold;
  uint64_t total;
};
Nucleus nucleus(const float* weights, int64_t count, uint64_t wanted) {
  std::vector<uint64_t> sums(kClasses);
  const auto class_of = [](float weight) { return std::bit_cast<uint32_t>(weight) >> kClassShift; };
  for (int64_t c = 0; c < count; ++c) {
    if (const uint64_t has = units(weights[c])) sums[class_of(weights[c])] += has;
  }
  size_t edge = kClasses - 1;
  uint64_t above = 0;
  while (above + sums[edge] < wanted) above += sums[edge--];
  std::vector<float> members;
  for (int64_t c = 0; c < count; ++c) {
    if (units(weights[c]) > 0 && class_of(weights[c]) == edge) members.push_back(weights[c]);
  }
  std::ranges::sort(members, std::ranges::greater{});
  size_t i = 0;
  float threshold = members[0];
  while (above < wanted || (i < members.size() && members[i] == threshold)) {
    threshold = members[i];
    above += units(members[i++]);
  }
  return {threshold, above};
}

int64_t draw(const float* weights, int64_t count, uint64_t total, const TokenChoice& choice) {
  Nucleus kept{0, total};
  if (choice.top_p < 1) {
    const auto wanted = static_cast<uint64_t>(std::ceil(choice.top_p * static_cast<double>(total)));
    kept = nucleus(weights, count, std::clamp<uint64_t>(wanted, 1, total));
  }
  uint64_t left = std::min(static_cast<uint64_t>(choice.random * static_cast<double>(kept.total)), kept.total - 1);
  for (int64_t c = 0;; ++c) {
    if (!(weights[c] >= kept.threshold)) continue;
    const uint64_t has = units(weights[c]);
    if (left < has) return c;
    left -= has;
  }
}

void sample_row(SampledToken& out, const float* row, float* weights, int64_t count, const TokenChoice& choice,
                const Penalty* penalties) {
  if (choice.alternatives >= 0) {
    Largest next = largest(row, count);
    out.maximum = next.index < 0 ? NAN : next.value;
    out.total = weigh(weights, row, count, out.maximum, 1);
    for (int32_t i = 0; i < choice.alternatives; ++i) {
      out.top[i] = static_cast<int32_t>(next.index);
      out.top_logits[i] = next.value;
      if (next.index >= 0) next = largest_after(row, count, next);
    }
  }
  const float* from = row;
  if (choice.first_penalty < choice.end_penalty) {
    std::copy(row, row + count, weights);
    for (int32_t p = choice.first_penalty; p < choice.end_penalty; ++p)
      weights[penalties[p].token] -= penalties[p].amount;
    from = weights;
  }
  const Largest best = largest(from, count);
  int64_t id = std::max<int64_t>(best.index, 0);
  if (choice.inverse_temperature > 0) {
    const uint64_t total = weigh(weights, from, count, best.value, choice.inverse_temperature);
    if (total > 0) id = draw(weights, count, total, choice);
  }
  out.id = static_cast<int32_t>(id);
  out.logit = row[id];
}

}  // namespace

void sample_tokens(SampledToken* out, ConstRows z, Rows weights, const TokenChoice* choices, const Penalty* penalties) {
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < z.rows; ++r) sample_row(out[r], z.row(r), weights.row(r), z.cols, choices[r], penalties);
}

float inverse_temperature(double temperature) {
  return temperature == 0 ? 0.0f : static_cast<float>(std::min<double>(1 / temperature, FLT_MAX));
}

double log_probability(const SampledToken& row, float logit) {
  return static_cast<double>(logit) - static_cast<double>(row.maximum) -
         std::log(static_cast<double>(row.total) / static_cast<double>(kWeightUnits));
}

}  // namespace humanizer
