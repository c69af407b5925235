// rope.h on the device. A block of threads a row; a thread turns eight neighbouring pairs.
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 128;

template <class T, bool kVector>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(View<T> x, const int32_t* positions, const float* table, int head_size, float sign) {
  const int half = head_size / 2, eights = static_cast<int>(ceil_div(half, 8));
  const float* cosine = table + static_cast<int64_t>(positions[blockIdx.x]) * head_size;
  const int heads = static_cast<int>(x.cols) / head_size;
  for (int at = static_cast<int>(threadIdx.x); at < heads * eights; at += kThreads) {
    const int i = at % eights * 8, count = half - i;
    T* a = x.row(blockIdx.x) + at / eights * head_size + i;
    Eight first = load8<kVector>(a, count), second = load8<kVector>(a + half, count);
    const Eight c = load8<kVector>(cosine + i, count), s = load8<kVector>(cosine + half + i, count);
#pragma unroll
    for (int k = 0; k < 8; ++k) {
      const float turn = mul(sign, s.at[k]), u = first.at[k], v = second.at[k];
      first.at[k] = add(mul(u, c.at[k]), -mul(v, turn));
      second.at[k] = add(mul(v, c.at[k]), mul(u, turn));
    }
    store8<kVector>(a, first, count);
    store8<kVector>(a + half, second, count);
  }
}

}  // namespace

template <class T>
void rope(cudaStream_t stream, View<T> x, const int32_t* positions, const float* table, int64_t head_size,
          bool backward) {
  const bool whole = whole_eights(x) && head_size % 16 == 0 && reinterpret_cast<uintptr_t>(table) % 16 == 0;
  launch(whole ? rope_kernel<T, true> : rope_kernel<T, false>, dim3(static_cast<unsigned>(x.rows)), dim3(kThreads), 0,
         stream, x, positions, table, static_cast<int>(head_size), backward ? -1.0f : 1.0f);
}

template void rope(cudaStream_t, View<float>, const int32_t*, const float*, int64_t, bool);
template void rope(cudaStream_t, View<bf16>, const int32_t*, const float*, int64_t, bool);

}  // namespace humanizer::cuda
