// Reading NF4 inside a kernel: nf4.cu's dequantisation and few_rows.cu's product.
#pragma once

#include "device.cuh"
#include "nf4.h"

namespace humanizer::cuda {

// Scale of block b, with the roundings of nf4.cc.
__device__ inline float nf4_absmax(const Nf4Tensor& t, int64_t b) {
  if (t.absmax) return t.absmax[b];
  return add(mul(t.absmax_map[t.absmax_code[b]], t.absmax_scale[b / kAbsmaxGroup]), t.offset);
}

// One value of any tensor. code: the 16 values, wherever they are near.
__device__ inline float nf4_value(const Nf4Tensor& t, int64_t i, const float* code) {
  const int byte = t.codes[i / 2];
  return mul(code[i % 2 ? byte & 15 : byte >> 4], nf4_absmax(t, i / t.block));
}

// The eight values of a word of codes that share a scale: in each byte the high nibble comes first. 16 floats of shared
// memory lie in 16 banks, so that lanes never wait for one another there.
__device__ inline Eight nf4_eight(uint32_t word, const float* code, float absmax) {
  Eight x;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    x.at[2 * i] = mul(code[word >> (8 * i + 4) & 15], absmax);
    x.at[2 * i + 1] = mul(code[word >> (8 * i) & 15], absmax);
  }
  return x;
}

// log2 of the block; read only where nf4_in_words holds.
inline int nf4_shift(const Nf4Tensor& t) {
  int shift = 0;
  while ((int64_t{1} << shift) < t.block) ++shift;
  return shift;
}

// Whether eight neighbours from a multiple of eight on always share a scale and lie in one row and one aligned word.
inline bool nf4_in_words(const Nf4Tensor& t, int64_t cols) {
  return cols % 8 == 0 && t.block % 8 == 0 && (t.block & (t.block - 1)) == 0 &&
         reinterpret_cast<uintptr_t>(t.codes) % 4 == 0;
}

}  // namespace humanizer::cuda
