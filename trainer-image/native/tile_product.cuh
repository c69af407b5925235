// C (M, N) = A (M, K) B (K, N) a tile at a time, for the thin products around LoRA, whose operands change on the way in
// (dropout) and whose results on the way out. f32: multiply-adds; bf16: tensor cores, f32 sums.
//
// An operand is an object with
//   static constexpr bool kAlongK           whether eight neighbours in memory are neighbours in k
//   Eight load(i, k)                        i of M or N; the eight from (i, k) on, zeros beyond its end
// and a result one with
//   void store(m, n, Eight)                 likewise; it leaves out what is beyond its end
#pragma once

#include "fragments.cuh"

namespace humanizer::cuda {

inline constexpr int kProductThreads = 128;
inline constexpr int kTileM = 64, kTileN = 32, kTileK = 64;

// A tile of an operand in shared memory: kWidth of M or N and kTileK of K.
template <class T, int kWidth, bool kAlongK>
struct OperandTile {
  static constexpr int kRows = kAlongK ? kWidth : kTileK, kCols = kAlongK ? kTileK : kWidth;
  static constexpr int kStride = kCols + kPad;
  static constexpr int kBytes = kRows * kStride * static_cast<int>(sizeof(T));
  static constexpr int kLoads = kRows * kCols / 8 / kProductThreads;

  template <class Operand>
  static __device__ void fetch(Eight (&into)[kLoads], const Operand& operand, int64_t i0, int64_t k0) {
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      const int at = n * kProductThreads + static_cast<int>(threadIdx.x), row = at / (kCols / 8),
                col = at % (kCols / 8) * 8;
      into[n] = kAlongK ? operand.load(i0 + row, k0 + col) : operand.load(i0 + col, k0 + row);
    }
  }
  static __device__ void put(T* tile, const Eight (&from)[kLoads]) {
#pragma unroll
    for (int n = 0; n < kLoads; ++n) {
      const int at = n * kProductThreads + static_cast<int>(threadIdx.x), row = at / (kCols / 8),
                col = at % (kCols / 8) * 8;
      store8(tile + row * kStride + col, from[n]);
    }
  }
  static __device__ float at(const T* tile, int i, int k) {
    return to_float(kAlongK ? tile[i * kStride + k] : tile[k * kStride + i]);
  }
};

// The sums of one thread: in bf16 the fragments of its warp's 16 rows, in f32 four rows and four columns.
template <class T>
struct TileSums;

template <>
struct TileSums<bf16> {
  FragmentD at[kTileN / 8] = {};

  template <class TileA, class TileB, bool kAlongA, bool kAlongB>
  __device__ void add_product(const bf16* a, const bf16* b) {
    const int row = static_cast<int>(threadIdx.x) / 32 * 16;
#pragma unroll
    for (int k = 0; k < kTileK; k += 16) {
      FragmentA from_a;
      if constexpr (kAlongA) {
        load_a(from_a, a + row * TileA::kStride + k, TileA::kStride);
      } else {
        load_a_trans(from_a, a + k * TileA::kStride + row, TileA::kStride);
      }
#pragma unroll
      for (int n = 0; n < kTileN; n += 16) {
        FragmentB from_b[2];
        if constexpr (kAlongB) {
          load_b(from_b, b + n * TileB::kStride + k, TileB::kStride);
        } else {
          load_b_trans(from_b, b + k * TileB::kStride + n, TileB::kStride);
        }
        mma_m16n8k16(at[n / 8], from_a, from_b[0]);
        mma_m16n8k16(at[n / 8 + 1], from_a, from_b[1]);
      }
    }
  }
  __device__ void put(float* tile, int stride) const {
    const int lane = lane_id(), row = static_cast<int>(threadIdx.x) / 32 * 16 + lane / 4;
#pragma unroll
    for (int n = 0; n < kTileN / 8; ++n) {
      float* to = tile + row * stride + n * 8 + lane % 4 * 2;
      to[0] = at[n][0], to[1] = at[n][1];
      to[8 * stride] = at[n][2], to[8 * stride + 1] = at[n][3];
    }
  }
};

template <>
struct TileSums<float> {
  float at[4][4] = {};

  template <class TileA, class TileB, bool kAlongA, bool kAlongB>
  __device__ void add_product(const float* a, const float* b) {
    const int m = static_cast<int>(threadIdx.x) / 8 * 4, n = static_cast<int>(threadIdx.x) % 8 * 4;
    for (int k = 0; k < kTileK; ++k) {
      float row[4], col[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) row[i] = TileA::at(a, m + i, k), col[i] = TileB::at(b, n + i, k);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) at[i][j] += row[i] * col[j];
      }
    }
  }
  __device__ void put(float* tile, int stride) const {
    const int m = static_cast<int>(threadIdx.x) / 8 * 4, n = static_cast<int>(threadIdx.x) % 8 * 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) tile[(m + i) * stride + n + j] = at[i][j];
    }
  }
};

// blockIdx.x, y: the tile along M and N; z: the part of K, [z * part, (z + 1) * part) of it, which the result knows.
template <class T, class A, class B, class C>
__global__ void __launch_bounds__(kProductThreads) tile_product_kernel(A a, B b, C c, int64_t depth, int64_t part) {
  using TileA = OperandTile<T, kTileM, A::kAlongK>;
  using TileB = OperandTile<T, kTileN, B::kAlongK>;
  T *tile_a = dynamic_shared<T>(), *tile_b = tile_a + TileA::kBytes / sizeof(T);
  const int64_t m0 = static_cast<int64_t>(blockIdx.x) * kTileM, n0 = static_cast<int64_t>(blockIdx.y) * kTileN;
  const int64_t begin = blockIdx.z * part, end = begin + part < depth ? begin + part : depth;
  TileSums<T> sums;
  Eight next_a[TileA::kLoads], next_b[TileB::kLoads];
  TileA::fetch(next_a, a, m0, begin);
  TileB::fetch(next_b, b, n0, begin);
  for (int64_t k = begin; k < end; k += kTileK) {
    __syncthreads();  // the tile before has been multiplied
    TileA::put(tile_a, next_a);
    TileB::put(tile_b, next_b);
    __syncthreads();
    if (k + kTileK < end) {
      TileA::fetch(next_a, a, m0, k + kTileK);
      TileB::fetch(next_b, b, n0, k + kTileK);
    }
    sums.template add_product<TileA, TileB, A::kAlongK, B::kAlongK>(tile_a, tile_b);
  }
  __syncthreads();
  constexpr int kStride = kTileN + 4;
  float* staged = dynamic_shared<float>();
  sums.put(staged, kStride);
  __syncthreads();
#pragma unroll
  for (int n = 0; n < kTileM * kTileN / 8 / kProductThreads; ++n) {
    const int at = n * kProductThreads + static_cast<int>(threadIdx.x), row = at / (kTileN / 8),
              col = at % (kTileN / 8) * 8;
    c.store(m0 + row, n0 + col, load8(staged + row * kStride + col));
  }
}

// parts > 1: K in parts of `part`, a multiple of kTileK but for the last; the result takes each by blockIdx.z.
template <class T, class A, class B, class C>
void tile_product(cudaStream_t stream, int64_t m, int64_t n, int64_t depth, int64_t part, const A& a, const B& b,
                  const C& c) {
  constexpr int kTiles = OperandTile<T, kTileM, A::kAlongK>::kBytes + OperandTile<T, kTileN, B::kAlongK>::kBytes;
  constexpr int kStaged = kTileM * (kTileN + 4) * static_cast<int>(sizeof(float));
  const dim3 grid(static_cast<unsigned>(ceil_div(m, kTileM)), static_cast<unsigned>(ceil_div(n, kTileN)),
                  static_cast<unsigned>(ceil_div(depth, part)));
  launch(tile_product_kernel<T, A, B, C>, grid, dim3(kProductThreads), kTiles > kStaged ? kTiles : kStaged, stream, a,
         b, c, depth, part);
}

}  // namespace humanizer::cuda
