// Tiles of heads in shared memory, and what both directions of the tensor-core attention do with them. A tile has kD
// columns, the head's size rounded up to a size of attention.cu; those beyond the head are zeros.
#pragma once

#include "device_ops.cuh"
#include "fragments.cuh"

namespace humanizer::cuda {

inline constexpr int kAttentionThreads = 128, kAttentionRows = 64;  // a warp has 16 rows
inline constexpr float kLog2e = 1.44269504088896341f, kLn2 = 0.69314718055994531f;

template <int kD>
inline constexpr int kHeadStride = kD + kPad;

// Starts copying rows [first, first + kRows) of head h; rows from x.rows on become zeros.
template <int kD, int kRows>
__device__ inline void fetch_rows(bf16* tile, const View<const bf16>& x, int64_t first, int64_t h, int head_size) {
#pragma unroll
  for (int n = 0; n < kRows * kD / 8 / kAttentionThreads; ++n) {
    const int at = n * kAttentionThreads + static_cast<int>(threadIdx.x), row = at / (kD / 8), col = at % (kD / 8) * 8;
    const bool there = first + row < x.rows && col < head_size;
    const bf16* from = there ? x.row(first + row) + h * head_size + col : x.data;
    copy_async_16(tile + row * kHeadStride<kD> + col, from, there ? 16 : 0);
  }
}

// sums (16, 8 * kN) += A (16, kD) of the tile `a` from its first row on, times B (kD, 8 * kN), whose columns are the
// rows of the tile `b`.
template <int kD, int kN>
__device__ inline void multiply_rows(FragmentD (&sums)[kN], const bf16* a, const bf16* b) {
#pragma unroll
  for (int k = 0; k < kD; k += 16) {
    FragmentA from_a;
    load_a(from_a, a + k, kHeadStride<kD>);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      FragmentB from_b[2];
      load_b(from_b, b + n * 8 * kHeadStride<kD> + k, kHeadStride<kD>);
      mma_m16n8k16(sums[n], from_a, from_b[0]);
      mma_m16n8k16(sums[n + 1], from_a, from_b[1]);
    }
  }
}

// sums (16, kD) += P (16, 8 * kN) in fragments, times the rows of the tile `b`.
template <int kD, int kN>
__device__ inline void multiply_columns(FragmentD (&sums)[kD / 8], const FragmentD (&p)[kN], const bf16* b) {
#pragma unroll
  for (int k = 0; k < kN; k += 2) {
    FragmentA from_p;
    as_a(from_p, p[k], p[k + 1]);
#pragma unroll
    for (int n = 0; n < kD / 8; n += 2) {
      FragmentB from_b[2];
      load_b_trans(from_b, b + k * 8 * kHeadStride<kD> + n * 8, kHeadStride<kD>);
      mma_m16n8k16(sums[n], from_p, from_b[0]);
      mma_m16n8k16(sums[n + 1], from_p, from_b[1]);
    }
  }
}

// The sums of a warp's 16 rows, row `first` their first, to head h of x; scale[i] is for the rows 8 * i + lane / 4.
template <int kD>
__device__ inline void store_rows(const View<bf16>& x, int64_t first, int64_t h, int head_size,
                                  const FragmentD (&sums)[kD / 8], const float (&scale)[2]) {
  const int lane = lane_id();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int64_t row = first + 8 * half + lane / 4;
    if (row >= x.rows) continue;
    bf16* to = x.row(row) + h * head_size + lane % 4 * 2;
#pragma unroll
    for (int n = 0; n < kD / 8; ++n) {
      if (n * 8 >= head_size) break;
      *reinterpret_cast<uint32_t*>(to + n * 8) =
          pack_bf16(sums[n][2 * half] * scale[half], sums[n][2 * half + 1] * scale[half]);
    }
  }
}

// f(std::integral_constant<int, kD>) with the smallest kD that holds the head. Throws Error{kInvalidArgument}.
template <class F>
void with_head_size(int64_t head_size, F f) {
  if (head_size % 8 != 0 || head_size > 128) {
    throw Error(Code::kInvalidArgument, "head size " + std::to_string(head_size) +
                                            " has no attention on this device in bf16: expected a multiple of 8, at "
                                            "most 128");
  }
  if (head_size <= 32) return f(std::integral_constant<int, 32>());
  if (head_size <= 64) return f(std::integral_constant<int, 64>());
  if (head_size <= 96) return f(std::integral_constant<int, 96>());
  f(std::integral_constant<int, 128>());
}

inline void expect_aligned_rows(const char* what, const View<const bf16>& x) {
  if (reinterpret_cast<uintptr_t>(x.data) % 16 == 0 && x.stride % 8 == 0) return;
  throw Error(Code::kInvalidArgument, std::string("the rows of ") + what + " are not aligned to 16 bytes");
}

}  // namespace humanizer::cuda
