// Fragments of mma.m16n8k16 (ptx.cuh) out of tiles in shared memory: bf16, rows `stride` apart. A stride of 16 bytes
// modulo 32, or of 4 words modulo 8, keeps the eight rows of an 8x8 matrix in different banks: widths are padded by
// kPad.
#pragma once

#include "device.cuh"

namespace humanizer::cuda {

inline constexpr int kPad = 8;  // values

using FragmentA = uint32_t[4];
using FragmentB = uint32_t[2];
using FragmentD = float[4];

__device__ inline int lane_id() { return static_cast<int>(threadIdx.x) % 32; }

// A (16, k 16) from a tile whose rows are A's, at its upper left corner.
__device__ inline void load_a(FragmentA& a, const bf16* tile, int stride) {
  const int lane = lane_id();
  ldmatrix_x4(a, tile + lane % 16 * stride + lane / 16 * 8);
}
// The same from a tile whose rows are A's columns.
__device__ inline void load_a_trans(FragmentA& a, const bf16* tile, int stride) {
  const int lane = lane_id();
  ldmatrix_x4_trans(a, tile + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
}
// B (k 16, 16), two fragments side by side, from a tile whose rows are B's columns.
__device__ inline void load_b(FragmentB (&b)[2], const bf16* tile, int stride) {
  const int lane = lane_id();
  uint32_t r[4];
  ldmatrix_x4(r, tile + (lane % 8 + lane / 16 * 8) * stride + lane / 8 % 2 * 8);
  b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}
// The same from a tile whose rows are B's.
__device__ inline void load_b_trans(FragmentB (&b)[2], const bf16* tile, int stride) {
  const int lane = lane_id();
  uint32_t r[4];
  ldmatrix_x4_trans(r, tile + lane % 16 * stride + lane / 16 * 8);
  b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
}

// Two neighbouring D (16, 8) as the A (16, k 16) of the next product: no lane needs another's values.
__device__ inline void as_a(FragmentA& a, const FragmentD& left, const FragmentD& right) {
  a[0] = pack_bf16(left[0], left[1]);
  a[1] = pack_bf16(left[2], left[3]);
  a[2] = pack_bf16(right[0], right[1]);
  a[3] = pack_bf16(right[2], right[3]);
}

}  // namespace humanizer::cuda
