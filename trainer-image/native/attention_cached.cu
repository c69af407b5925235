// attention.h on the device for a decoding step: one query a sequence, its keys and values in the cache. The keys are
// cut into splits, so that a long cache keeps the whole device busy; a second kernel joins the splits, in order.
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32, kMost = 8;  // columns of a lane: heads of at most 256

// What one split leaves of a head: sums of the values (head_size), then the softmax's maximum and sum.
__device__ inline float* partial(float* scratch, int64_t row, int64_t h, int64_t split, int64_t splits,
                                 const AttentionShape& shape) {
  return scratch + ((row * shape.heads + h) * splits + split) * (shape.head_size + 2);
}

// A block of threads a split, a head and a row; a warp every fourth key, whose columns the lanes share.
template <class T>
__global__ void __launch_bounds__(kThreads)
    split_kernel(float* scratch, View<const T> queries, const CachedRow<T>* rows, AttentionShape shape, float scale) {
  const int size = static_cast<int>(shape.head_size), warp = static_cast<int>(threadIdx.x) / 32,
            lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t split = blockIdx.x, h = blockIdx.y, row = blockIdx.z, kv = h / (shape.heads / shape.kv_heads);
  const int64_t stride = shape.kv_heads * shape.head_size, begin = split * kKeysOfSplit;
  const CachedRow<T> cached = rows[row];
  const int keys = static_cast<int>(cached.keys - begin < kKeysOfSplit ? cached.keys - begin : kKeysOfSplit);
  const T *k = cached.k + (begin + warp) * stride + kv * size + lane,
          *v = cached.v + (begin + warp) * stride + kv * size + lane;
  float q[kMost], sums[kMost] = {}, maximum = -INFINITY, total = 0;
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    q[i] = lane + 32 * i < size ? to_float(queries.row(row)[h * size + lane + 32 * i]) * scale : 0.0f;
  }
  for (int key = warp; key < keys; key += kWarps, k += kWarps * stride, v += kWarps * stride) {
    float score = 0;
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      if (lane + 32 * i < size) score += q[i] * to_float(k[32 * i]);
    }
    score = warp_sum(score);
    const float largest = fmaxf(maximum, score), shrink = expf(maximum - largest), p = expf(score - largest);
    maximum = largest;
    total = total * shrink + p;
#pragma unroll
    for (int i = 0; i < kMost; ++i) {
      if (lane + 32 * i < size) sums[i] = sums[i] * shrink + p * to_float(v[32 * i]);
    }
  }
  float* of_warp = dynamic_shared<float>() + warp * (size + 2);
#pragma unroll
  for (int i = 0; i < kMost; ++i) {
    if (lane + 32 * i < size) of_warp[lane + 32 * i] = sums[i];
  }
  if (lane == 0) of_warp[size] = maximum, of_warp[size + 1] = total;
  __syncthreads();
  const float* all = dynamic_shared<float>();
  float largest = -INFINITY;
  for (int w = 0; w < kWarps; ++w) largest = fmaxf(largest, all[w * (size + 2) + size]);
  float* to = partial(scratch, row, h, split, gridDim.x, shape);
  for (int c = static_cast<int>(threadIdx.x); c < size + 2; c += kThreads) {
    if (c == size) {
      to[c] = largest;
      continue;
    }
    float sum = 0;  // of the values, and in the last place of the probabilities
    for (int w = 0; w < kWarps; ++w) {
      const float* part = all + w * (size + 2);
      if (part[size] != -INFINITY) sum += part[c] * expf(part[size] - largest);
    }
    to[c] = sum;
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    join_kernel(View<T> out, float* scratch, const CachedRow<T>* rows, AttentionShape shape, int64_t splits) {
  const int size = static_cast<int>(shape.head_size);
  const int64_t h = blockIdx.x, row = blockIdx.y, used = ceil_div(rows[row].keys, kKeysOfSplit);
  float largest = -INFINITY;
  for (int64_t s = 0; s < used; ++s) largest = fmaxf(largest, partial(scratch, row, h, s, splits, shape)[size]);
  for (int c = static_cast<int>(threadIdx.x); c < size; c += kThreads) {
    float sum = 0, total = 0;
    for (int64_t s = 0; s < used; ++s) {
      const float *part = partial(scratch, row, h, s, splits, shape), weight = expf(part[size] - largest);
      sum += weight * part[c];
      total += weight * part[size + 1];
    }
    store(out.row(row) + h * size + c, sum / total);
  }
}

}  // namespace

template <class T>
void attention_cached(cudaStream_t stream, View<T> out, View<const T> q, const CachedRow<T>* rows, int64_t longest,
                      const AttentionShape& shape, float* scratch) {
  if (shape.head_size > 32 * kMost) {
    throw Error(Code::kInvalidArgument, "head size " + std::to_string(shape.head_size) +
                                            " has no attention on this device: expected at most 256");
  }
  const auto splits = static_cast<unsigned>(ceil_div(longest, kKeysOfSplit)),
             heads = static_cast<unsigned>(shape.heads), count = static_cast<unsigned>(q.rows);
  const float scale = 1.0f / sqrtf(static_cast<float>(shape.head_size));
  launch(split_kernel<T>, dim3(splits, heads, count), dim3(kThreads),
         static_cast<size_t>(kWarps * (shape.head_size + 2)) * sizeof(float), stream, scratch, q, rows, shape, scale);
  launch(join_kernel<T>, dim3(heads, count), dim3(kThreads), 0, stream, out, scratch, rows, shape,
         static_cast<int64_t>(splits));
}

template void attention_cached(cudaStream_t, View<float>, View<const float>, const CachedRow<float>*, int64_t,
                               const AttentionShape&, float*);
template void attention_cached(cudaStream_t, View<bf16>, View<const bf16>, const CachedRow<bf16>*, int64_t,
                               const AttentionShape&, float*);

}  // namespace humanizer::cuda
