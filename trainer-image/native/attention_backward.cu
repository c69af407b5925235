// attention.h on the device, backward (attention_backward.cc has the formulas). dK and dV are one kernel, a block of
// threads for 64 keys of one key head, and dQ another, for 64 queries of one head: each sum has one owner, so that its
// order is fixed and no atomics are needed. The scores are made twice for it: 7 products instead of 5.
#include "attention.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = kAttentionThreads, kRows = kAttentionRows, kStep = 32;  // rows of the other side at a time

// delta[row, head] = dout . out, a warp each.
template <class T>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(float* delta, View<const T> dout, View<const T> out, AttentionShape shape) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32;
  const int64_t row = at / shape.heads, begin = at % shape.heads * shape.head_size;
  if (row >= out.rows) return;
  float sum = 0;
  for (int64_t c = lane_id(); c < shape.head_size; c += 32) {
    sum += to_float(dout.row(row)[begin + c]) * to_float(out.row(row)[begin + c]);
  }
  sum = warp_sum(sum);
  if (lane_id() == 0) delta[at] = sum;
}

struct Backward {
  AttentionInput<bf16> in;
  View<const bf16> dout;
  const float *lse, *delta;
  Packed rows;
  AttentionShape shape;
  float scale;
};

// p = exp(scale * score - lse) where `visible`, ds = p * (dp - delta) * scale, in the places of score and dp.
__device__ inline void softmax_gradient(float& score, float& dp, bool visible, float lse, float delta, float scale) {
  score = visible ? exp2_approx((score * scale - lse) * kLog2e) : 0.0f;
  dp = score * (dp - delta) * scale;
}

// S^T = K Q^T and dP^T = V dO^T have a key a row: their fragments are the left operands of dV += P^T dO and dK += dS^T
// Q.
template <int kD>
__global__ void __launch_bounds__(kThreads) keys_kernel(View<bf16> dk, View<bf16> dv, Backward b) {
  constexpr int kTile = kRows * kHeadStride<kD>, kPart = kStep * kHeadStride<kD>;
  bf16 *k = dynamic_shared<bf16>(), *v = k + kTile, *q = v + kTile, *dout = q + kPart;
  auto *lse = reinterpret_cast<float*>(dout + kPart), *delta = lse + kStep;
  const int head_size = static_cast<int>(b.shape.head_size), warp = static_cast<int>(threadIdx.x) / 32,
            lane = lane_id();
  const int64_t kv = blockIdx.y, group = b.shape.heads / b.shape.kv_heads;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kRows;
  const int64_t last = begin + kRows < dk.rows ? begin + kRows - 1 : dk.rows - 1;
  const int queries = static_cast<int>(b.rows.last[last] - begin);
  int key[2], seen_until[2];  // this lane's keys, and the first query beyond those that see them: both from `begin` on
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    key[half] = 16 * warp + 8 * half + lane / 4;
    seen_until[half] = begin + key[half] < dk.rows ? static_cast<int>(b.rows.last[begin + key[half]] - begin) : 0;
  }
  fetch_rows<kD, kRows>(k, b.in.k, begin, kv, head_size);
  fetch_rows<kD, kRows>(v, b.in.v, begin, kv, head_size);
  FragmentD sum_k[kD / 8] = {}, sum_v[kD / 8] = {};
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    for (int query = 0; query < queries; query += kStep) {
      __syncthreads();  // all have done with the queries before
      fetch_rows<kD, kStep>(q, b.in.q, begin + query, h, head_size);
      fetch_rows<kD, kStep>(dout, b.dout, begin + query, h, head_size);
      copy_async_commit();
      if (threadIdx.x < kStep) {
        const int64_t row = begin + query + threadIdx.x;
        lse[threadIdx.x] = row < dk.rows ? b.lse[row * b.shape.heads + h] : 0.0f;
        delta[threadIdx.x] = row < dk.rows ? b.delta[row * b.shape.heads + h] : 0.0f;
      }
      copy_async_wait<0>();
      __syncthreads();
      FragmentD p[kStep / 8] = {}, ds[kStep / 8] = {};
      multiply_rows<kD>(p, k + 16 * warp * kHeadStride<kD>, q);
      multiply_rows<kD>(ds, v + 16 * warp * kHeadStride<kD>, dout);
#pragma unroll
      for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = n * 8 + lane % 4 * 2 + i % 2;
          softmax_gradient(p[n][i], ds[n][i], query + column >= key[i / 2] && query + column < seen_until[i / 2],
                           lse[column], delta[column], b.scale);
        }
      }
      multiply_columns<kD>(sum_v, p, dout);
      multiply_columns<kD>(sum_k, ds, q);
    }
  }
  copy_async_wait<0>();
  store_rows<kD>(dk, begin + 16 * warp, kv, head_size, sum_k, {1.0f, 1.0f});
  store_rows<kD>(dv, begin + 16 * warp, kv, head_size, sum_v, {1.0f, 1.0f});
}

template <int kD>
__global__ void __launch_bounds__(kThreads) queries_kernel(View<bf16> dq, Backward b) {
  constexpr int kTile = kRows * kHeadStride<kD>, kPart = kStep * kHeadStride<kD>;
  bf16 *q = dynamic_shared<bf16>(), *dout = q + kTile, *k = dout + kTile, *v = k + kPart;
  const int head_size = static_cast<int>(b.shape.head_size), warp = static_cast<int>(threadIdx.x) / 32,
            lane = lane_id();
  const int64_t h = blockIdx.y, kv = h / (b.shape.heads / b.shape.kv_heads);
  const int64_t begin = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kRows;
  const int64_t last = begin + kRows < dq.rows ? begin + kRows - 1 : dq.rows - 1;
  int64_t row[2], first[2];
  float lse[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    row[half] = begin + 16 * warp + 8 * half + lane / 4;
    const bool there = row[half] < dq.rows;
    first[half] = there ? b.rows.first[row[half]] : 0;
    lse[half] = there ? b.lse[row[half] * b.shape.heads + h] : 0.0f;
    delta[half] = there ? b.delta[row[half] * b.shape.heads + h] : 0.0f;
  }
  fetch_rows<kD, kRows>(q, b.in.q, begin, h, head_size);
  fetch_rows<kD, kRows>(dout, b.dout, begin, h, head_size);
  FragmentD sums[kD / 8] = {};
  for (int64_t key = b.rows.first[begin]; key <= last; key += kStep) {
    __syncthreads();
    fetch_rows<kD, kStep>(k, b.in.k, key, kv, head_size);
    fetch_rows<kD, kStep>(v, b.in.v, key, kv, head_size);
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
    FragmentD p[kStep / 8] = {}, ds[kStep / 8] = {};
    multiply_rows<kD>(p, q + 16 * warp * kHeadStride<kD>, k);
    multiply_rows<kD>(ds, dout + 16 * warp * kHeadStride<kD>, v);
#pragma unroll
    for (int n = 0; n < kStep / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int64_t at = key + n * 8 + lane % 4 * 2 + i % 2;
        softmax_gradient(p[n][i], ds[n][i], at <= row[i / 2] && at >= first[i / 2], lse[i / 2], delta[i / 2], b.scale);
      }
    }
    multiply_columns<kD>(sums, ds, k);
  }
  store_rows<kD>(dq, begin + 16 * warp, h, head_size, sums, {1.0f, 1.0f});
}

// f32: a warp a row. What the row has of q, k or v stands in shared memory; a lane makes the dot products of one row of
// the other side, and then has every 32nd column of the sums.
constexpr int kWarps = kThreads / 32, kMost = 8;

struct BackwardF32 {
  AttentionInput<float> in;
  View<const float> dout;
  const float *lse, *delta;
  Packed rows;
  AttentionShape shape;
  float scale;

  // p and ds of a query and a key.
  __device__ void scores(float& p, float& ds, const float* q, const float* dout_row, const float* k, const float* v,
                         int64_t query, int64_t h) const {
    float score = 0, dp = 0;
    for (int64_t c = 0; c < shape.head_size; ++c) score += q[c] * k[c], dp += dout_row[c] * v[c];
    p = expf(score * scale - lse[query * shape.heads + h]);
    ds = p * (dp - delta[query * shape.heads + h]) * scale;
  }
};

__device__ inline void copy_row(float* to, const float* from, int64_t size) {
  for (int64_t c = lane_id(); c < size; c += 32) to[c] = from[c];
}

__global__ void __launch_bounds__(kThreads) queries_f32_kernel(View<float> dq, BackwardF32 b) {
  const int64_t size = b.shape.head_size, h = blockIdx.y, kv = h / (b.shape.heads / b.shape.kv_heads);
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = lane_id();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  float *q = dynamic_shared<float>() + warp * 2 * size, *dout = q + size;
  if (row >= dq.rows) return;
  copy_row(q, b.in.q.row(row) + h * size, size);
  copy_row(dout, b.dout.row(row) + h * size, size);
  __syncwarp();
  float sums[kMost] = {};
  for (int64_t key = b.rows.first[row]; key <= row; key += 32) {
    float p = 0, ds = 0;
    if (key + lane <= row) {
      b.scores(p, ds, q, dout, b.in.k.row(key + lane) + kv * size, b.in.v.row(key + lane) + kv * size, row, h);
    }
    for (int j = 0; j < 32 && key + j <= row; ++j) {
      const float weight = __shfl_sync(kAllLanes, ds, j), *k = b.in.k.row(key + j) + kv * size;
#pragma unroll
      for (int i = 0; i < kMost; ++i) {
        if (lane + 32 * i < size) sums[i] += weight * k[lane + 32 * i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    if (lane + 32 * i < size) dq.row(row)[h * size + lane + 32 * i] = sums[i];
  }
}

__global__ void __launch_bounds__(kThreads) keys_f32_kernel(View<float> dk, View<float> dv, BackwardF32 b) {
  const int64_t size = b.shape.head_size, kv = blockIdx.y, group = b.shape.heads / b.shape.kv_heads;
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = lane_id();
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  float *k = dynamic_shared<float>() + warp * 2 * size, *v = k + size;
  if (row >= dk.rows) return;
  copy_row(k, b.in.k.row(row) + kv * size, size);
  copy_row(v, b.in.v.row(row) + kv * size, size);
  __syncwarp();
  const int64_t end = b.rows.last[row];
  float sum_k[kMost] = {}, sum_v[kMost] = {};
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    for (int64_t query = row; query < end; query += 32) {
      float p = 0, ds = 0;
      if (query + lane < end) {
        b.scores(p, ds, b.in.q.row(query + lane) + h * size, b.dout.row(query + lane) + h * size, k, v, query + lane,
                 h);
      }
      for (int j = 0; j < 32 && query + j < end; ++j) {
        const float weight = __shfl_sync(kAllLanes, p, j), slope = __shfl_sync(kAllLanes, ds, j);
        const float *q = b.in.q.row(query + j) + h * size, *dout = b.dout.row(query + j) + h * size;
#pragma unroll
        for (int i = 0; i < kMost; ++i) {
          if (lane + 32 * i < size) sum_v[i] += weight * dout[lane + 32 * i], sum_k[i] += slope * q[lane + 32 * i];
        }
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    if (lane + 32 * i >= size) continue;
    dk.row(row)[kv * size + lane + 32 * i] = sum_k[i];
    dv.row(row)[kv * size + lane + 32 * i] = sum_v[i];
  }
}

float scale_of(const AttentionShape& shape) { return 1.0f / sqrtf(static_cast<float>(shape.head_size)); }

dim3 grid_of(int64_t rows, int64_t of_block, int64_t heads) {
  return {static_cast<unsigned>(ceil_div(rows, of_block)), static_cast<unsigned>(heads)};
}

template <class T>
void make_delta(cudaStream_t stream, float* delta, View<const T> dout, View<const T> out, const AttentionShape& shape) {
  launch(delta_kernel<T>, dim3(static_cast<unsigned>(ceil_div(out.rows * shape.heads, kWarps))), dim3(kThreads), 0,
         stream, delta, dout, out, shape);
}

}  // namespace

template <>
void attention_backward(cudaStream_t stream, const AttentionInput<bf16>& in, View<bf16> dq, View<bf16> dk,
                        View<bf16> dv, View<const bf16> dout, View<const bf16> out, const float* lse,
                        const Packed& rows, const AttentionShape& shape, float* scratch) {
  expect_aligned_rows("q", in.q);
  expect_aligned_rows("k", in.k);
  expect_aligned_rows("v", in.v);
  expect_aligned_rows("the gradient of the attention's output", dout);
  expect_aligned_rows("dq", dq);
  expect_aligned_rows("dk", dk);
  expect_aligned_rows("dv", dv);
  make_delta(stream, scratch, dout, out, shape);
  const Backward b{in, dout, lse, scratch, rows, shape, scale_of(shape)};
  with_head_size(shape.head_size, [&](auto size) {
    constexpr int kD = decltype(size)::value;
    constexpr size_t kShared = (2 * kRows + 2 * kStep) * kHeadStride<kD> * sizeof(bf16) + 2 * kStep * sizeof(float);
    launch(keys_kernel<kD>, grid_of(dk.rows, kRows, shape.kv_heads), dim3(kThreads), kShared, stream, dk, dv, b);
    launch(queries_kernel<kD>, grid_of(dq.rows, kRows, shape.heads), dim3(kThreads), kShared, stream, dq, b);
  });
}

template <>
void attention_backward(cudaStream_t stream, const AttentionInput<float>& in, View<float> dq, View<float> dk,
                        View<float> dv, View<const float> dout, View<const float> out, const float* lse,
                        const Packed& rows, const AttentionShape& shape, float* scratch) {
  if (shape.head_size > 32 * kMost) {
    throw Error(Code::kInvalidArgument, "head size " + std::to_string(shape.head_size) +
                                            " has no attention on this device: expected at most 256");
  }
  make_delta(stream, scratch, dout, out, shape);
  const BackwardF32 b{in, dout, lse, scratch, rows, shape, scale_of(shape)};
  const size_t shared = static_cast<size_t>(kWarps * 2 * shape.head_size) * sizeof(float);
  launch(keys_f32_kernel, grid_of(dk.rows, kWarps, shape.kv_heads), dim3(kThreads), shared, stream, dk, dv, b);
  launch(queries_f32_kernel, grid_of(dq.rows, kWarps, shape.heads), dim3(kThreads), shared, stream, dq, b);
}

}  // namespace humanizer::cuda
