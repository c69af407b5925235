// sampling.h on the device: a block of threads a row, so that of a step only what was chosen goes to the host. The
// nucleus is found by halving the range of weights, thirty sums of a row that lies in the cache.
#include "device_ops.cuh"
#include "sampling.h"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 1024;
constexpr int kWarps = kThreads / 32;
static_assert(kWarps == 32);  // a warp adds up what the warps have

using Units = unsigned long long;

struct Shared {
  Units sums[kThreads], of_warps[kWarps];
  float values[kWarps];
  int indices[kWarps], owner;
  Units left;
};

// vector_math.h's exp_approx, with its bits.
__device__ inline float exp_approx(float x) {
  x = x > 88.0f ? 88.0f : x;
  x = x < -87.0f ? -87.0f : x;
  const float shifted = add(mul(x, 1.44269504088896341f), 12582912.0f);
  const float n = shifted - 12582912.0f;
  const float r = add(x - mul(n, 0.693359375f), mul(n, 2.12194440e-4f));
  float p = 1.9875691500e-4f;
  p = add(mul(p, r), 1.3981999507e-3f);
  p = add(mul(p, r), 8.3334519073e-3f);
  p = add(mul(p, r), 4.1665795894e-2f);
  p = add(mul(p, r), 1.6666665459e-1f);
  p = add(mul(p, r), 5.0000001201e-1f);
  p = add(add(mul(mul(p, r), r), r), 1.0f);
  const unsigned exponent = (__float_as_uint(shifted) - 0x4b400000u + 127u) << 23;
  return mul(p, __uint_as_float(exponent));
}

// 0 of a NaN, too.
__device__ inline Units units(float weight) { return weight > 0 ? static_cast<Units>(mul(weight, kWeightUnits)) : 0; }

// All threads get the sum.
__device__ inline Units sum_of_block(Units x, Shared& shared) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  __syncthreads();  // of_warps may still be read for the sum before
  if (threadIdx.x % 32 == 0) shared.of_warps[threadIdx.x / 32] = x;
  __syncthreads();
  Units sum = 0;
  for (int w = 0; w < kWarps; ++w) sum += shared.of_warps[w];
  return sum;
}

// The largest that comes after `before` in the order of value, then index; index -1: there is none.
struct Largest {
  float value;
  int index;
};
__device__ inline bool comes_before(const Largest& a, const Largest& b) {
  if (a.index < 0 || b.index < 0) return b.index < 0 && a.index >= 0;
  return a.value > b.value || (a.value == b.value && a.index < b.index);
}
__device__ inline Largest largest_after(const float* row, int count, Largest before, Shared& shared) {
  Largest best{-INFINITY, -1};
  for (int c = static_cast<int>(threadIdx.x); c < count; c += kThreads) {
    const float x = row[c];
    if (!(x < before.value || (x == before.value && c > before.index))) continue;
    if (best.index < 0 || x > best.value) best = {x, c};
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Largest other{__shfl_xor_sync(kAllLanes, best.value, offset), __shfl_xor_sync(kAllLanes, best.index, offset)};
    if (comes_before(other, best)) best = other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0)
    shared.values[threadIdx.x / 32] = best.value, shared.indices[threadIdx.x / 32] = best.index;
  __syncthreads();
  for (int w = 0; w < kWarps; ++w) {
    const Largest other{shared.values[w], shared.indices[w]};
    if (comes_before(other, best)) best = other;
  }
  return best;
}

// Each thread writes and adds up what it reads later: its own columns.
__device__ inline Units weigh(float* weights, const float* row, int count, float maximum, float inverse_temperature,
                              Shared& shared) {
  Units total = 0;
  for (int c = static_cast<int>(threadIdx.x); c < count; c += kThreads) {
    weights[c] = exp_approx(mul(row[c] - maximum, inverse_temperature));
    total += units(weights[c]);
  }
  return sum_of_block(total, shared);
}

// The units of all weights from `threshold` on, by its bits, which order non-negative floats.
__device__ inline Units units_from(unsigned threshold, const float* weights, int count, Shared& shared) {
  Units sum = 0;
  for (int c = static_cast<int>(threadIdx.x); c < count; c += kThreads) {
    if (weights[c] >= __uint_as_float(threshold)) sum += units(weights[c]);
  }
  return sum_of_block(sum, shared);
}

// Of weights that all threads see; the thread in whose stretch of columns it lies writes the token.
__device__ inline void draw(SampledToken* out, const float* weights, int count, Units total, const TokenChoice& choice,
                            Shared& shared) {
  unsigned threshold = 0;
  Units kept = total;
  if (choice.top_p < 1) {
    const double exact = ceil(choice.top_p * static_cast<double>(total));
    const Units most = static_cast<Units>(exact), wanted = most < 1 ? 1 : most > total ? total : most;
    unsigned beyond = __float_as_uint(2.0f);
    while (beyond - threshold > 1) {
      const unsigned middle = threshold + (beyond - threshold) / 2;
      const Units has = units_from(middle, weights, count, shared);
      if (has >= wanted) {
        threshold = middle, kept = has;
      } else {
        beyond = middle;
      }
    }
  }
  const int stretch = (count + kThreads - 1) / kThreads, begin = static_cast<int>(threadIdx.x) * stretch;
  const int end = begin + stretch < count ? begin + stretch : count;
  Units sum = 0;
  for (int c = begin; c < end; ++c) {
    if (weights[c] >= __uint_as_float(threshold)) sum += units(weights[c]);
  }
  __syncthreads();
  shared.sums[threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.x < kWarps) {
    Units of_warp = 0;
    for (int i = 0; i < 32; ++i) of_warp += shared.sums[32 * threadIdx.x + i];
    shared.of_warps[threadIdx.x] = of_warp;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    Units left = static_cast<Units>(choice.random * static_cast<double>(kept));
    left = left < kept ? left : kept - 1;
    int warp = 0;
    while (left >= shared.of_warps[warp]) left -= shared.of_warps[warp++];
    int owner = 32 * warp;
    while (left >= shared.sums[owner]) left -= shared.sums[owner++];
    shared.owner = owner;
    shared.left = left;
  }
  __syncthreads();
  if (static_cast<int>(threadIdx.x) != shared.owner) return;
  Units left = shared.left;
  for (int c = begin; c < end; ++c) {
    if (!(weights[c] >= __uint_as_float(threshold))) continue;
    const Units has = units(weights[c]);
    if (left < has) {
      out->id = c;
      return;
    }
    left -= has;
  }
}

__global__ void __launch_bounds__(kThreads) sample_kernel(SampledToken* outs, View<const float> z, View<float> scratch,
                                                          const TokenChoice* choices, const Penalty* penalties) {
  Shared& shared = *dynamic_shared<Shared>();
  const TokenChoice choice = choices[blockIdx.x];
  SampledToken* out = outs + blockIdx.x;
  const float* row = z.row(blockIdx.x);
  float* weights = scratch.row(blockIdx.x);
  const int count = static_cast<int>(z.cols);
  const bool first = threadIdx.x == 0;
  if (choice.alternatives >= 0) {
    Largest next = largest_after(row, count, {INFINITY, -1}, shared);
    const float maximum = next.index < 0 ? NAN : next.value;
    const Units total = weigh(weights, row, count, maximum, 1, shared);
    if (first) out->maximum = maximum, out->total = total;
    for (int i = 0; i < choice.alternatives; ++i) {
      if (first) out->top[i] = next.index, out->top_logits[i] = next.value;
      if (next.index >= 0) next = largest_after(row, count, next, shared);
    }
  }
  const float* from = row;
  if (choice.first_penalty < choice.end_penalty) {
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < count; c += kThreads) weights[c] = row[c];
    __syncthreads();
    for (int p = choice.first_penalty + static_cast<int>(threadIdx.x); p < choice.end_penalty; p += kThreads) {
      weights[penalties[p].token] -= penalties[p].amount;
    }
    __syncthreads();
    from = weights;
  }
  const Largest best = largest_after(from, count, {INFINITY, -1}, shared);
  if (first) out->id = best.index < 0 ? 0 : best.index;
  if (choice.inverse_temperature > 0) {
    const Units total = weigh(weights, from, count, best.value, choice.inverse_temperature, shared);
    if (total > 0) draw(out, weights, count, total, choice, shared);
  }
  __syncthreads();
  if (first) out->logit = row[out->id];
}

}  // namespace

void sample_tokens(cudaStream_t stream, SampledToken* out, View<const float> z, View<float> weights,
                   const TokenChoice* choices, const Penalty* penalties) {
  launch(sample_kernel, dim3(static_cast<unsigned>(z.rows)), dim3(kThreads), sizeof(Shared), stream, out, z, weights,
         choices, penalties);
}

}  // namespace humanizer::cuda
