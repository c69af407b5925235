// nf4.h on the device. A thread makes eight values of four bytes of codes: loads and stores of neighbouring threads are
// neighbours. The level-one scale is decoded where it is used.
#include "device_ops.cuh"
#include "nf4.cuh"
#include "nf4.h"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32;
constexpr int kZeroCode = 7;

__constant__ float kThreshold[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,   -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f,   0.2035212516784668f,
    0.2920137718319893f,   0.3893125355243683f,    0.5016634166240692f,  0.6427869200706482f,   0.8614784181118011f};

__device__ int code_of(float n) {
  int code = 0;
#pragma unroll
  for (int k = 0; k < 15; ++k) code += n > kThreshold[k];
  return code;
}

// A warp a block: a lane takes every 32nd pair, whose codes are one byte.
template <class T>
__global__ void __launch_bounds__(kThreads)
    quantize_kernel(uint8_t* codes, float* absmax, const T* values, int64_t count, int64_t block) {
  const int64_t b = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t begin = b * block, size = begin < count ? (count - begin < block ? count - begin : block) : 0;
  const T* x = values + begin;
  // As integers the magnitudes have the order of the numbers, with infinity and NaN above all of them.
  int bits = 0;
  for (int64_t i = lane; i < size; i += 32) bits = max(bits, __float_as_int(to_float(x[i])) & 0x7fffffff);
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) bits = max(bits, __shfl_xor_sync(kAllLanes, bits, offset));
  if (size == 0) return;
  const float largest = __int_as_float(bits);
  if (lane == 0) absmax[b] = largest;
  const float reciprocal = __fdiv_rn(1.0f, largest > 1e-38f ? largest : 1e-38f);
  for (int64_t i = 2 * lane; i < size; i += 64) {
    const int first = code_of(mul(to_float(x[i]), reciprocal));
    const int second = i + 1 < size ? code_of(mul(to_float(x[i + 1]), reciprocal)) : kZeroCode;
    codes[(begin + i) / 2] = static_cast<uint8_t>(first << 4 | second);
  }
}

// One block of threads: the mean in f64, in an order that only `blocks` sets.
__global__ void __launch_bounds__(1024) mean_kernel(float* mean, const float* absmax, int64_t blocks) {
  double sum = 0;
  for (int64_t b = threadIdx.x; b < blocks; b += blockDim.x) sum += static_cast<double>(absmax[b]);
  sum = block_sum(sum, dynamic_shared<double>());
  if (threadIdx.x == 0) *mean = static_cast<float>(sum / static_cast<double>(blocks));
}

// Index of the nearest value; the lower one on a tie.
__device__ int nearest_dynamic(const float* map, float x) {
  int low = 0, high = 255;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (map[middle] <= x ? low : high) = middle;
  }
  return add(x, -map[low]) <= add(map[high], -x) ? low : high;
}

// A block of threads a group of kAbsmaxGroup.
__global__ void __launch_bounds__(kAbsmaxGroup)
    quantize_absmax_kernel(uint8_t* code, float* scale, const float* absmax, int64_t blocks, const float* offset,
                           const float* map) {
  float *shared = dynamic_shared<float>(), *map_here = shared + 32;
  map_here[threadIdx.x] = map[threadIdx.x];
  const int64_t b = static_cast<int64_t>(blockIdx.x) * kAbsmaxGroup + threadIdx.x;
  const float x = b < blocks ? add(absmax[b], -*offset) : 0.0f;
  const float largest = block_max(fabsf(x), shared);
  if (threadIdx.x == 0) scale[blockIdx.x] = largest;
  if (b < blocks) code[b] = static_cast<uint8_t>(nearest_dynamic(map_here, __fdiv_rn(x, largest > 0 ? largest : 1.0f)));
}

// A block of threads a row. kFast: eight neighbours share a scale, and their codes are a word.
template <class T, bool kFast>
__global__ void __launch_bounds__(kThreads) dequantize_kernel(View<T> out, Nf4Tensor t, int64_t begin, int shift) {
  float* code = dynamic_shared<float>();
  if (threadIdx.x < 16) code[threadIdx.x] = t.code[threadIdx.x];
  __syncthreads();
  const int64_t row = begin + blockIdx.x * out.cols;
  T* to = out.row(blockIdx.x);
  if constexpr (kFast) {
#pragma unroll 4
    for (int64_t c = 8 * threadIdx.x; c < out.cols; c += 8 * kThreads) {
      const int64_t i = row + c;
      store8(to + c, nf4_eight(*reinterpret_cast<const uint32_t*>(t.codes + i / 2), code, nf4_absmax(t, i >> shift)));
    }
  } else {
    for (int64_t c = threadIdx.x; c < out.cols; c += kThreads) store(to + c, nf4_value(t, row + c, code));
  }
}

}  // namespace

template <class T>
void nf4_quantize(cudaStream_t stream, uint8_t* codes, float* absmax, const T* values, int64_t count, int64_t block) {
  launch(quantize_kernel<T>, dim3(static_cast<unsigned>(ceil_div(ceil_div(count, block), kWarps))), dim3(kThreads), 0,
         stream, codes, absmax, values, count, block);
}

void nf4_quantize_absmax(cudaStream_t stream, uint8_t* code, float* scale, float* offset, const float* absmax,
                         int64_t blocks, const float* map) {
  if (blocks == 0) return;
  launch(mean_kernel, dim3(1), dim3(1024), 32 * sizeof(double), stream, offset, absmax, blocks);
  launch(quantize_absmax_kernel, dim3(static_cast<unsigned>(ceil_div(blocks, kAbsmaxGroup))), dim3(kAbsmaxGroup),
         (32 + kAbsmaxGroup) * sizeof(float), stream, code, scale, absmax, blocks, offset, map);
}

template <class T>
void nf4_dequantize(cudaStream_t stream, View<T> out, const Nf4Tensor& t, int64_t begin) {
  const bool fast = nf4_in_words(t, out.cols) && begin % 8 == 0 && whole_eights(out);
  launch(fast ? dequantize_kernel<T, true> : dequantize_kernel<T, false>, dim3(static_cast<unsigned>(out.rows)),
         dim3(kThreads), 16 * sizeof(float), stream, out, t, begin, nf4_shift(t));
}

template void nf4_quantize(cudaStream_t, uint8_t*, float*, const float*, int64_t, int64_t);
template void nf4_quantize(cudaStream_t, uint8_t*, float*, const bf16*, int64_t, int64_t);
template void nf4_dequantize(cudaStream_t, View<float>, const Nf4Tensor&, int64_t);
template void nf4_dequantize(cudaStream_t, View<bf16>, const Nf4Tensor&, int64_t);

}  // namespace humanizer::cuda
