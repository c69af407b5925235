// rmsnorm.h on the device. A block of threads a row: the second time over it is read from the L1 cache.
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 256;

// f(c): at each eight of the row that is this thread's.
template <class F>
__device__ inline void eights(int64_t cols, F f) {
  for (int64_t c = 8 * threadIdx.x; c < cols; c += 8 * kThreads) f(c);
}

template <class T, bool kVector>
__device__ inline void scale_row(const View<T>& y, const View<const T>& x, const float* w, float rstd) {
  eights(x.cols, [&](int64_t c) {
    Eight in = load8<kVector>(x.row(blockIdx.x) + c, x.cols - c);
    const Eight weight = load8<kVector>(w + c, x.cols - c);
#pragma unroll
    for (int i = 0; i < 8; ++i) in.at[i] = mul(mul(in.at[i], rstd), weight.at[i]);
    store8<kVector>(y.row(blockIdx.x) + c, in, x.cols - c);
  });
}

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(View<T> y, float* rstd, View<const T> x, const float* w, float eps) {
  float squares = 0;
  eights(x.cols, [&](int64_t c) {
    const Eight in = load8<kVector>(x.row(blockIdx.x) + c, x.cols - c);
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += in.at[i] * in.at[i];
  });
  squares = block_sum(squares, dynamic_shared<float>());
  const float scale = __fdiv_rn(1.0f, __fsqrt_rn(__fdiv_rn(squares, static_cast<float>(x.cols)) + eps));
  if (threadIdx.x == 0) rstd[blockIdx.x] = scale;
  scale_row<T, kVector>(y, x, w, scale);
}

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads)
    replay_kernel(View<T> y, const float* rstd, View<const T> x, const float* w) {
  scale_row<T, kVector>(y, x, w, rstd[blockIdx.x]);
}

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(View<T> dx, View<const T> dy, View<const T> x, const float* rstd, const float* w) {
  const int64_t r = blockIdx.x;
  float dot = 0;
  eights(x.cols, [&](int64_t c) {
    const Eight in = load8<kVector>(x.row(r) + c, x.cols - c), gradient = load8<kVector>(dy.row(r) + c, x.cols - c);
    const Eight weight = load8<kVector>(w + c, x.cols - c);
#pragma unroll
    for (int i = 0; i < 8; ++i) dot += in.at[i] * weight.at[i] * gradient.at[i];
  });
  dot = block_sum(dot, dynamic_shared<float>());
  const float scale = rstd[r], mean = scale * scale * dot / static_cast<float>(x.cols);
  eights(x.cols, [&](int64_t c) {
    const Eight in = load8<kVector>(x.row(r) + c, x.cols - c), gradient = load8<kVector>(dy.row(r) + c, x.cols - c);
    const Eight weight = load8<kVector>(w + c, x.cols - c);
    Eight out = load8<kVector>(dx.row(r) + c, x.cols - c);
#pragma unroll
    for (int i = 0; i < 8; ++i) out.at[i] += scale * (weight.at[i] * gradient.at[i] - in.at[i] * mean);
    store8<kVector>(dx.row(r) + c, out, x.cols - c);
  });
}

bool vector(const float* w) { return reinterpret_cast<uintptr_t>(w) % 16 == 0; }

constexpr size_t kShared = 32 * sizeof(float);

}  // namespace

template <class T>
void rmsnorm_forward(cudaStream_t stream, View<T> y, float* rstd, View<const T> x, const float* w, float eps) {
  const bool whole = whole_eights(y) && whole_eights(x) && vector(w);
  launch(whole ? forward_kernel<T, true> : forward_kernel<T, false>, dim3(static_cast<unsigned>(x.rows)),
         dim3(kThreads), kShared, stream, y, rstd, x, w, eps);
}

template <class T>
void rmsnorm_replay(cudaStream_t stream, View<T> y, const float* rstd, View<const T> x, const float* w) {
  const bool whole = whole_eights(y) && whole_eights(x) && vector(w);
  launch(whole ? replay_kernel<T, true> : replay_kernel<T, false>, dim3(static_cast<unsigned>(x.rows)), dim3(kThreads),
         0, stream, y, rstd, x, w);
}

template <class T>
void rmsnorm_backward(cudaStream_t stream, View<T> dx, View<const T> dy, View<const T> x, const float* rstd,
                      const float* w) {
  const bool whole = whole_eights(dx) && whole_eights(dy) && whole_eights(x) && vector(w);
  launch(whole ? backward_kernel<T, true> : backward_kernel<T, false>, dim3(static_cast<unsigned>(x.rows)),
         dim3(kThreads), kShared, stream, dx, dy, x, rstd, w);
}

template void rmsnorm_forward(cudaStream_t, View<float>, float*, View<const float>, const float*, float);
template void rmsnorm_forward(cudaStream_t, View<bf16>, float*, View<const bf16>, const float*, float);
template void rmsnorm_replay(cudaStream_t, View<float>, const float*, View<const float>, const float*);
template void rmsnorm_replay(cudaStream_t, View<bf16>, const float*, View<const bf16>, const float*);
template void rmsnorm_backward(cudaStream_t, View<float>, View<const float>, View<const float>, const float*,
                               const float*);
template void rmsnorm_backward(cudaStream_t, View<bf16>, View<const bf16>, View<const bf16>, const float*,
                               const float*);

}  // namespace humanizer::cuda
