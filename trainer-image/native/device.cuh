// What the kernels share: loads and stores of eight values at a time, sums over a warp or
// block, and products that the compiler may not fuse.
#pragma once

#include <cstdint>
#include <launch.cuh>
#include <ptx.cuh>

#include "view.h"

namespace humanizer::cuda {

using bf16 = __nv_bfloat16;

inline constexpr unsigned kAllLanes = 0xffffffffu;

__host__ __device__ inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(bf16 x) { return __bfloat162float(x); }
__device__ inline void store(float* at, float x) { *at = x; }
__device__ inline void store(bf16* at, float x) { *at = __float2bfloat16_rn(x); }

// Not contracted to a fused multiply-add: what must have the bits of the .cc, which is compiled with -ffp-contract=off.
__device__ inline float mul(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }

// Eight neighbours of a row, in f32.
struct Eight {
  float at[8];
};

__device__ inline float low_of(uint32_t pair) { return __uint_as_float(pair << 16); }
__device__ inline float high_of(uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); }

// From and to addresses aligned to 16 bytes.
__device__ inline Eight load8(const float* from) {
  const float4 a = *reinterpret_cast<const float4*>(from), b = *reinterpret_cast<const float4*>(from + 4);
  return {{a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w}};
}
__device__ inline Eight load8(const bf16* from) {
  const uint4 a = *reinterpret_cast<const uint4*>(from);
  return {{low_of(a.x), high_of(a.x), low_of(a.y), high_of(a.y), low_of(a.z), high_of(a.z), low_of(a.w), high_of(a.w)}};
}
__device__ inline void store8(float* to, const Eight& x) {
  *reinterpret_cast<float4*>(to) = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
  *reinterpret_cast<float4*>(to + 4) = make_float4(x.at[4], x.at[5], x.at[6], x.at[7]);
}
// By __stwb: of a plain assignment the compiler makes four stores for 8.0 to 9.0.
__device__ inline void store8(bf16* to, const Eight& x) {
  __stwb(reinterpret_cast<uint4*>(to), make_uint4(pack_bf16(x.at[0], x.at[1]), pack_bf16(x.at[2], x.at[3]),
                                                  pack_bf16(x.at[4], x.at[5]), pack_bf16(x.at[6], x.at[7])));
}

// kVector: whole and aligned. Otherwise the first `count` one by one, and zeros for the rest.
template <bool kVector, class T>
__device__ inline Eight load8(const T* from, int64_t count) {
  if constexpr (kVector) {
    return load8(from);
  } else {
    Eight x;
#pragma unroll
    for (int i = 0; i < 8; ++i) x.at[i] = i < count ? to_float(from[i]) : 0.0f;
    return x;
  }
}
template <bool kVector, class T>
__device__ inline void store8(T* to, const Eight& x, int64_t count) {
  if constexpr (kVector) {
    store8(to, x);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < count) store(to + i, x.at[i]);
    }
  }
}

// Whether every row of x is a whole number of aligned eights.
template <class T>
bool whole_eights(const View<T>& x) {
  return x.cols % 8 == 0 && x.stride * static_cast<int64_t>(sizeof(T)) % 16 == 0 &&
         reinterpret_cast<uintptr_t>(x.data) % 16 == 0;
}

// The same bits in every lane.
__device__ inline float warp_sum(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}
__device__ inline float warp_max(float x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x = fmaxf(x, __shfl_xor_sync(kAllLanes, x, offset));
  return x;
}
__device__ inline double warp_sum(double x) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(kAllLanes, x, offset);
  return x;
}

// Of a one-dimensional block of whole warps; shared has room for 32 values. All threads get the result.
template <class T>
__device__ inline T block_sum(T x, T* shared) {
  x = warp_sum(x);
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  __syncthreads();  // shared may still be read for the sum before
  if (threadIdx.x % 32 == 0) shared[warp] = x;
  __syncthreads();
  T sum = 0;
  for (int w = 0; w < warps; ++w) sum += shared[w];
  return sum;
}
__device__ inline float block_max(float x, float* shared) {
  x = warp_max(x);
  const int warp = static_cast<int>(threadIdx.x) / 32, warps = static_cast<int>(blockDim.x) / 32;
  __syncthreads();
  if (threadIdx.x % 32 == 0) shared[warp] = x;
  __syncthreads();
  float largest = shared[0];
  for (int w = 1; w < warps; ++w) largest = fmaxf(largest, shared[w]);
  return largest;
}

}  // namespace humanizer::cuda
