// rows.h on the device, and the key-value caches of a decoding step. A block of threads a row, a value a thread.
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 256;

// Row r of `to` is to_row[r], of `from` from_row[r]; null: r.
template <class To, class From>
__global__ void __launch_bounds__(kThreads)
    copy_kernel(View<To> to, View<const From> from, const int32_t* to_row, const int32_t* from_row) {
  const int64_t r = blockIdx.x;
  To* out = to.row(to_row ? to_row[r] : r);
  const From* in = from.row(from_row ? from_row[r] : r);
  for (int64_t c = threadIdx.x; c < from.cols; c += kThreads) store(out + c, to_float(in[c]));
}

// The last key and value of each row's cache.
template <class T>
__global__ void __launch_bounds__(kThreads)
    append_kernel(const CachedRow<T>* rows, View<const T> keys, View<const T> values) {
  const CachedRow<T> cached = rows[blockIdx.x];
  const int64_t at = (cached.keys - 1) * keys.cols;
  for (int64_t c = threadIdx.x; c < keys.cols; c += kThreads) {
    cached.k[at + c] = keys.row(blockIdx.x)[c];
    cached.v[at + c] = values.row(blockIdx.x)[c];
  }
}

template <class To, class From>
void copy(cudaStream_t stream, View<To> to, View<const From> from, const int32_t* to_row, const int32_t* from_row,
          int64_t rows) {
  launch(copy_kernel<To, From>, dim3(static_cast<unsigned>(rows)), dim3(kThreads), 0, stream, to, from, to_row,
         from_row);
}

}  // namespace

template <class T>
void gather_rows(cudaStream_t stream, View<T> to, View<const T> from, const int32_t* indices) {
  copy<T, T>(stream, to, from, nullptr, indices, to.rows);
}

template <class T>
void scatter_rows(cudaStream_t stream, View<T> to, View<const T> from, const int32_t* indices) {
  copy<T, T>(stream, to, from, indices, nullptr, from.rows);
}

template <class T>
void copy_rows(cudaStream_t stream, View<T> to, View<const float> from) {
  copy<T, float>(stream, to, from, nullptr, nullptr, to.rows);
}

template <class T>
void append_to_caches(cudaStream_t stream, const CachedRow<T>* rows, View<const T> keys, View<const T> values) {
  launch(append_kernel<T>, dim3(static_cast<unsigned>(keys.rows)), dim3(kThreads), 0, stream, rows, keys, values);
}

template void gather_rows(cudaStream_t, View<float>, View<const float>, const int32_t*);
template void gather_rows(cudaStream_t, View<bf16>, View<const bf16>, const int32_t*);
template void scatter_rows(cudaStream_t, View<float>, View<const float>, const int32_t*);
template void scatter_rows(cudaStream_t, View<bf16>, View<const bf16>, const int32_t*);
template void copy_rows(cudaStream_t, View<float>, View<const float>);
template void copy_rows(cudaStream_t, View<bf16>, View<const float>);
template void append_to_caches(cudaStream_t, const CachedRow<float>*, View<const float>, View<const float>);
template void append_to_caches(cudaStream_t, const CachedRow<bf16>*, View<const bf16>, View<const bf16>);

}  // namespace humanizer::cuda
