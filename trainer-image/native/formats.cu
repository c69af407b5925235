// formats.h on the device, and the rows of an embedding. A value a thread: weights are decoded once, when they come.
#include "device_ops.cuh"
#include "formats.cuh"
#include "nf4.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 256;

template <class T, Format kFormat>
__global__ void __launch_bounds__(kThreads) decode_kernel(View<T> out, const uint8_t* blocks) {
  T* to = out.row(blockIdx.x);
  for (int64_t c = threadIdx.x; c < out.cols; c += kThreads) {
    store(to + c, format_value<kFormat>(blocks, blockIdx.x * out.cols + c));
  }
}

template <class T, Format kFormat>
__global__ void __launch_bounds__(kThreads)
    embedding_kernel(View<T> out, const uint8_t* blocks, const int32_t* tokens) {
  T* to = out.row(blockIdx.x);
  const int64_t begin = tokens[blockIdx.x] * out.cols;
  for (int64_t c = threadIdx.x; c < out.cols; c += kThreads) store(to + c, format_value<kFormat>(blocks, begin + c));
}

template <class T>
__global__ void __launch_bounds__(kThreads) nf4_embedding_kernel(View<T> out, Nf4Tensor t, const int32_t* tokens) {
  T* to = out.row(blockIdx.x);
  const int64_t begin = tokens[blockIdx.x] * out.cols;
  for (int64_t c = threadIdx.x; c < out.cols; c += kThreads) store(to + c, nf4_value(t, begin + c, t.code));
}

template <class T>
__global__ void __launch_bounds__(kThreads) add_bias_kernel(View<T> y, const float* bias) {
  T* out = y.row(blockIdx.x);
  for (int64_t c = threadIdx.x; c < y.cols; c += kThreads) store(out + c, to_float(out[c]) + bias[c]);
}

dim3 a_block_each(int64_t rows) { return dim3(static_cast<unsigned>(rows)); }

}  // namespace

template <class T>
void decode(cudaStream_t stream, View<T> out, const uint8_t* blocks, Format format) {
  with_format(format, [&](auto constant) {
    launch(decode_kernel<T, constant.value>, a_block_each(out.rows), dim3(kThreads), 0, stream, out, blocks);
  });
}

template <class T>
void embedding(cudaStream_t stream, View<T> out, const HeldMatrix& w, const int32_t* tokens) {
  const dim3 grid = a_block_each(out.rows);
  if (w.nf4.codes) return launch(nf4_embedding_kernel<T>, grid, dim3(kThreads), 0, stream, out, w.nf4, tokens);
  with_format(w.format, [&](auto constant) {
    launch(embedding_kernel<T, constant.value>, grid, dim3(kThreads), 0, stream, out, w.stored, tokens);
  });
}

template <class T>
void add_bias(cudaStream_t stream, View<T> y, const float* bias) {
  launch(add_bias_kernel<T>, a_block_each(y.rows), dim3(kThreads), 0, stream, y, bias);
}

template void decode(cudaStream_t, View<float>, const uint8_t*, Format);
template void decode(cudaStream_t, View<bf16>, const uint8_t*, Format);
template void embedding(cudaStream_t, View<float>, const HeldMatrix&, const int32_t*);
template void embedding(cudaStream_t, View<bf16>, const HeldMatrix&, const int32_t*);
template void add_bias(cudaStream_t, View<float>, const float*);
template void add_bias(cudaStream_t, View<bf16>, const float*);

}  // namespace humanizer::cuda
