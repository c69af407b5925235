// attention.h on the device, forward. bf16: a block of threads has 64 queries of one head in tensor-core fragments and
// goes through the keys 64 at a time with the online softmax (Dao, 2023); the values are copied while the scores are
// made, the next keys while the values are used. f32: a warp a query, for comparison with the CPU's numbers.
#include "attention.cuh"
#include "attention.h"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = kAttentionThreads, kRows = kAttentionRows, kKeys = 64;

template <int kD>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(View<bf16> out, float* lse, AttentionInput<bf16> in, const int32_t* first_key, AttentionShape shape,
                   float scale) {
  constexpr int kTile = kRows * kHeadStride<kD>;
  bf16 *q = dynamic_shared<bf16>(), *k = q + kTile, *v = k + kTile;
  const int head_size = static_cast<int>(shape.head_size), warp = static_cast<int>(threadIdx.x) / 32, lane = lane_id();
  const int64_t h = blockIdx.y, kv = h / (shape.heads / shape.kv_heads);
  // The last rows first: in a long document they see the most keys.
  const int64_t begin = static_cast<int64_t>(gridDim.x - 1 - blockIdx.x) * kRows;
  const int64_t last = begin + kRows < out.rows ? begin + kRows - 1 : out.rows - 1;
  const int64_t key_begin = first_key[begin];
  int64_t row[2], first[2];  // this lane's rows, and the first key each sees
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    row[half] = begin + 16 * warp + 8 * half + lane / 4;
    first[half] = row[half] < out.rows ? first_key[row[half]] : 0;
  }
  fetch_rows<kD, kRows>(q, in.q, begin, h, head_size);
  fetch_rows<kD, kKeys>(k, in.k, key_begin, kv, head_size);
  copy_async_commit();

  FragmentD sums[kD / 8] = {};
  float maximum[2] = {-INFINITY, -INFINITY}, total[2] = {};
  for (int64_t key = key_begin; key <= last; key += kKeys) {
    copy_async_wait<0>();
    __syncthreads();  // the keys are there, and all have done with the values before
    fetch_rows<kD, kKeys>(v, in.v, key, kv, head_size);
    copy_async_commit();
    FragmentD scores[kKeys / 8] = {};
    multiply_rows<kD>(scores, q + 16 * warp * kHeadStride<kD>, k);
    copy_async_wait<0>();
    __syncthreads();  // the values are there, and all have done with the keys
    if (key + kKeys <= last) {
      fetch_rows<kD, kKeys>(k, in.k, key + kKeys, kv, head_size);
      copy_async_commit();
    }
    const bool masked = key + kKeys - 1 > begin || key < first_key[last];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[half];
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[n][2 * half + i];
          score *= scale;
          if (masked) {
            const int64_t at = key + n * 8 + lane % 4 * 2 + i;
            if (at > row[half] || at < first[half]) score = -INFINITY;
          }
          largest = fmaxf(largest, score);
        }
      }
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, 2));
      const float from = largest == -INFINITY ? 0.0f : largest;  // a row that sees none of these keys
      const float shrink = exp2_approx(maximum[half] - from);
      maximum[half] = largest;
      total[half] *= shrink;
#pragma unroll
      for (int n = 0; n < kD / 8; ++n) sums[n][2 * half] *= shrink, sums[n][2 * half + 1] *= shrink;
#pragma unroll
      for (int n = 0; n < kKeys / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          float& score = scores[n][2 * half + i];
          score = exp2_approx(score - from);
          total[half] += score;
        }
      }
    }
    multiply_columns<kD>(sums, scores, v);
  }
  float reciprocal[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    total[half] += __shfl_xor_sync(kAllLanes, total[half], 1);
    total[half] += __shfl_xor_sync(kAllLanes, total[half], 2);
    reciprocal[half] = 1.0f / total[half];
    if (lane % 4 == 0 && row[half] < out.rows) {
      lse[row[half] * shape.heads + h] = maximum[half] * kLn2 + logf(total[half]);
    }
  }
  store_rows<kD>(out, begin + 16 * warp, h, head_size, sums, reciprocal);
}

// A warp a query: a lane a key for the scores, a lane every 32nd column for the sums. q: the row in shared memory.
__global__ void __launch_bounds__(kThreads)
    forward_f32_kernel(View<float> out, float* lse, AttentionInput<float> in, const int32_t* first_key,
                       AttentionShape shape, float scale) {
  constexpr int kWarps = kThreads / 32, kMost = 8;  // columns of a lane: heads of at most 256
  const int head_size = static_cast<int>(shape.head_size), warp = static_cast<int>(threadIdx.x) / 32, lane = lane_id();
  float* q = dynamic_shared<float>() + warp * head_size;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + warp;
  const int64_t h = blockIdx.y, kv = h / (shape.heads / shape.kv_heads);
  if (row < out.rows) {
    for (int c = lane; c < head_size; c += 32) q[c] = in.q.row(row)[h * head_size + c] * scale;
  }
  __syncwarp();
  if (row >= out.rows) return;
  float sums[kMost] = {}, maximum = -INFINITY, total = 0;
  for (int64_t key = first_key[row]; key <= row; key += 32) {
    float score = -INFINITY;
    if (key + lane <= row) {
      const float* k = in.k.row(key + lane) + kv * head_size;
      score = 0;
      for (int c = 0; c < head_size; ++c) score += q[c] * k[c];
    }
    const float largest = fmaxf(maximum, warp_max(score)), shrink = expf(maximum - largest);
    const float p = expf(score - largest);
    maximum = largest;
    total = total * shrink + warp_sum(p);
#pragma unroll
    for (int i = 0; i < kMost; ++i) sums[i] *= shrink;
    for (int j = 0; j < 32 && key + j <= row; ++j) {
      const float weight = __shfl_sync(kAllLanes, p, j), *v = in.v.row(key + j) + kv * head_size;
#pragma unroll
      for (int i = 0; i < kMost; ++i) {
        if (lane + 32 * i < head_size) sums[i] += weight * v[lane + 32 * i];
      }
    }
  }
  if (lane == 0) lse[row * shape.heads + h] = maximum + logf(total);
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    if (lane + 32 * i < head_size) out.row(row)[h * head_size + lane + 32 * i] = sums[i] / total;
  }
}

float scale_of(const AttentionShape& shape) { return 1.0f / sqrtf(static_cast<float>(shape.head_size)); }

}  // namespace

template <>
void attention_forward(cudaStream_t stream, View<bf16> out, float* lse, const AttentionInput<bf16>& in,
                       const Packed& rows, const AttentionShape& shape) {
  with_head_size(shape.head_size, [&](auto size) {
    constexpr int kD = decltype(size)::value;
    expect_aligned_rows("q", in.q);
    expect_aligned_rows("k", in.k);
    expect_aligned_rows("v", in.v);
    expect_aligned_rows("the attention's output", out);
    const dim3 grid(static_cast<unsigned>(ceil_div(out.rows, kRows)), static_cast<unsigned>(shape.heads));
    launch(forward_kernel<kD>, grid, dim3(kThreads), 3 * kRows * kHeadStride<kD> * sizeof(bf16), stream, out, lse, in,
           rows.first, shape, scale_of(shape) * kLog2e);
  });
}

template <>
void attention_forward(cudaStream_t stream, View<float> out, float* lse, const AttentionInput<float>& in,
                       const Packed& rows, const AttentionShape& shape) {
  constexpr int kWarps = kThreads / 32;
  if (shape.head_size > 256) {
    throw Error(Code::kInvalidArgument, "head size " + std::to_string(shape.head_size) +
                                            " has no attention on this device: expected at most 256");
  }
  const dim3 grid(static_cast<unsigned>(ceil_div(out.rows, kWarps)), static_cast<unsigned>(shape.heads));
  launch(forward_f32_kernel, grid, dim3(kThreads), static_cast<size_t>(kWarps * shape.head_size) * sizeof(float),
         stream, out, lse, in, rows.first, shape, scale_of(shape));
}

}  // namespace humanizer::cuda
