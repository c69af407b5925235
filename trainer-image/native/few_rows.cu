// few_rows.h on the device. A warp makes kOutputs columns of y: a lane takes eight values of W's row from a word of
// codes, and one load of x serves all the columns. W is read once for four rows of x and written nowhere.
#include "device_ops.cuh"
#include "few_rows.h"
#include "formats.cuh"
#include "nf4.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32, kOutputs = 2;

// Rows of W from `first` on, eight values at a time and as f32.
struct Nf4Words {
  Nf4Tensor t;
  int shift;
  __device__ Eight load(int64_t i, const float* code, int64_t) const {
    return nf4_eight(*reinterpret_cast<const uint32_t*>(t.codes + i / 2), code, nf4_absmax(t, i >> shift));
  }
};
struct Nf4Values {
  Nf4Tensor t;
  __device__ Eight load(int64_t i, const float* code, int64_t count) const {
    Eight x;
#pragma unroll
    for (int k = 0; k < 8; ++k) x.at[k] = k < count ? nf4_value(t, i + k, code) : 0.0f;
    return x;
  }
};
template <class Held>
struct DenseEights {  // float or bf16, whole eights
  const Held* values;
  __device__ Eight load(int64_t i, const float*, int64_t) const { return load8(values + i); }
};
template <Format kFormat>
struct FormatValues {
  const uint8_t* blocks;
  __device__ Eight load(int64_t i, const float*, int64_t count) const {
    Eight x;
#pragma unroll
    for (int k = 0; k < 8; ++k) x.at[k] = k < count ? format_value<kFormat>(blocks, i + k) : 0.0f;
    return x;
  }
};

// One block at least a multiprocessor: left to itself, the compiler spills for 9.0 to fit more.
template <class T, class Source, int kRows, bool kVector>
__global__ void __launch_bounds__(kThreads, 1)
    few_rows_kernel(View<T> y, View<const T> x, Source w, const float* code_map, int64_t row, float beta) {
  float* code = dynamic_shared<float>();
  if (code_map && threadIdx.x < 16) code[threadIdx.x] = code_map[threadIdx.x];
  __syncthreads();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32) * kOutputs;
  float sums[kRows][kOutputs] = {};
#pragma unroll(kVector ? 2 : 1)
  for (int64_t c = 8 * lane; c < x.cols; c += 256) {
    Eight in[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) in[r] = load8<kVector>(x.row(row + r) + c, x.cols - c);
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      if (first + o >= y.cols) break;
      const Eight weight = w.load((first + o) * x.cols + c, code, x.cols - c);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int k = 0; k < 8; ++k) sums[r][o] += in[r].at[k] * weight.at[k];
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int o = 0; o < kOutputs; ++o) {
      const float sum = warp_sum(sums[r][o]);
      if (lane != 0 || first + o >= y.cols) continue;
      T* out = y.row(row + r) + first + o;
      store(out, beta == 0 ? sum : sum + to_float(*out));
    }
  }
}

template <class T, class Source, bool kVector>
void multiply(cudaStream_t stream, View<T> y, View<const T> x, const Source& w, const float* code, float beta) {
  const dim3 grid(static_cast<unsigned>(ceil_div(y.cols, kWarps * kOutputs)));
  constexpr int64_t kMost = kVector ? 4 : 1;  // odd shapes go row by row
  for (int64_t row = 0, step; row < x.rows; row += step) {
    step = x.rows - row >= kMost ? kMost : 1;
    launch(step == kMost ? few_rows_kernel<T, Source, kMost, kVector> : few_rows_kernel<T, Source, 1, kVector>, grid,
           dim3(kThreads), 16 * sizeof(float), stream, y, x, w, code, row, beta);
  }
}

}  // namespace

template <class T>
void few_rows_matmul(cudaStream_t stream, View<T> y, View<const T> x, const HeldMatrix& w, float beta) {
  const bool whole = whole_eights(x);
  if (w.nf4.codes) {
    if (whole && nf4_in_words(w.nf4, w.cols)) {
      const Nf4Words words{w.nf4, nf4_shift(w.nf4)};
      return multiply<T, Nf4Words, true>(stream, y, x, words, w.nf4.code, beta);
    }
    return multiply<T, Nf4Values, false>(stream, y, x, {w.nf4}, w.nf4.code, beta);
  }
  const bool aligned = whole && reinterpret_cast<uintptr_t>(w.stored) % 16 == 0;
  if (aligned && w.format == Format::kBF16) {
    const DenseEights<bf16> eights{reinterpret_cast<const bf16*>(w.stored)};
    return multiply<T, DenseEights<bf16>, true>(stream, y, x, eights, nullptr, beta);
  }
  with_format(w.format, [&](auto constant) {
    multiply<T, FormatValues<constant.value>, false>(stream, y, x, {w.stored}, nullptr, beta);
  });
}

template void few_rows_matmul(cudaStream_t, View<float>, View<const float>, const HeldMatrix&, float);
template void few_rows_matmul(cudaStream_t, View<bf16>, View<const bf16>, const HeldMatrix&, float);

}  // namespace humanizer::cuda
