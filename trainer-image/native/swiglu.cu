// swiglu.h on the device. Eight values a thread; expf where the .cc has exp_approx: both within 2e-7.
#include "device_ops.cuh"
#include "swiglu.h"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 128;

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads) forward_kernel(View<T> y, View<const T> gu) {
  const int64_t r = blockIdx.x, c = 8 * (static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x), left = y.cols - c;
  if (left <= 0) return;
  const Eight gate = load8<kVector>(gu.row(r) + c, left), up = load8<kVector>(gu.row(r) + y.cols + c, left);
  Eight out;
#pragma unroll
  for (int i = 0; i < 8; ++i) out.at[i] = gate.at[i] / (1.0f + expf(-gate.at[i])) * up.at[i];
  store8<kVector>(y.row(r) + c, out, left);
}

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads) backward_kernel(View<T> dgu, View<const T> dy, View<const T> gu) {
  const int64_t r = blockIdx.x, c = 8 * (static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x), left = dy.cols - c;
  if (left <= 0) return;
  Eight gate = load8<kVector>(gu.row(r) + c, left), up = load8<kVector>(gu.row(r) + dy.cols + c, left);
  const Eight gradient = load8<kVector>(dy.row(r) + c, left);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const float g = gate.at[i], u = up.at[i], s = 1.0f / (1.0f + expf(-g));
    up.at[i] = gradient.at[i] * g * s;
    gate.at[i] = gradient.at[i] * u * s * (1.0f + g * (1.0f - s));
  }
  store8<kVector>(dgu.row(r) + c, gate, left);
  store8<kVector>(dgu.row(r) + dy.cols + c, up, left);
}

dim3 grid(int64_t rows, int64_t cols) {
  return {static_cast<unsigned>(rows), static_cast<unsigned>(ceil_div(cols, 8 * kThreads))};
}

}  // namespace

template <class T>
void swiglu_forward(cudaStream_t stream, View<T> y, View<const T> gu) {
  const bool whole = whole_eights(y) && whole_eights(gu);
  launch(whole ? forward_kernel<T, true> : forward_kernel<T, false>, grid(y.rows, y.cols), dim3(kThreads), 0, stream, y,
         gu);
}

template <class T>
void swiglu_backward(cudaStream_t stream, View<T> dgu, View<const T> dy, View<const T> gu) {
  const bool whole = whole_eights(dgu) && whole_eights(dy) && whole_eights(gu);
  launch(whole ? backward_kernel<T, true> : backward_kernel<T, false>, grid(dy.rows, dy.cols), dim3(kThreads), 0,
         stream, dgu, dy, gu);
}

template void swiglu_forward(cudaStream_t, View<float>, View<const float>);
template void swiglu_forward(cudaStream_t, View<bf16>, View<const bf16>);
template void swiglu_backward(cudaStream_t, View<float>, View<const float>, View<const float>);
template void swiglu_backward(cudaStream_t, View<bf16>, View<const bf16>, View<const bf16>);

}  // namespace humanizer::cuda
