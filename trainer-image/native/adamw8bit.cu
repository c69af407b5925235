// adamw8bit.h on the device: a block of threads a block of moments, an element a thread.
#include "adamw.cuh"
#include "adamw8bit.h"
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = static_cast<int>(kMomentBlock);

// Code of the value nearest to x, which is at most 1; halfway between two, the even one.
__device__ int nearest(const float* map, float x) {
  int low = 0;  // the last whose value is at most x
#pragma unroll
  for (int step = 128; step > 0; step /= 2) low += map[low + step] <= x ? step : 0;
  if (low == 255) return low;
  const float middle = mul(add(map[low], map[low + 1]), 0.5f);
  return x > middle || (x == middle && low % 2 == 1) ? low + 1 : low;
}

__global__ void __launch_bounds__(kThreads)
    update_kernel(float* parameter, float* gradient, QuantizedMoments moments, int64_t count, const GradientNorm* norm,
                  AdamwStep step, const float* first_map, const float* second_map) {
  float *shared = dynamic_shared<float>(), *first_code = shared + 32, *second_code = first_code + 256;
  first_code[threadIdx.x] = first_map[threadIdx.x];
  second_code[threadIdx.x] = second_map[threadIdx.x];
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (norm->skip != 0) {
    if (i < count) gradient[i] = 0;
    return;
  }
  const AdamwScalars s = scalars_of(step, *norm, shared);
  float m = 0, v = 0;
  if (i < count) {
    const float g = mul(s.scale, gradient[i]);
    m = first_moment(s, mul(first_code[moments.first[i]], moments.first_absmax[blockIdx.x]), g);
    v = second_moment(s, mul(second_code[moments.second[i]], moments.second_absmax[blockIdx.x]), g);
    gradient[i] = 0;
    parameter[i] = updated(s, parameter[i], m, v);
  }
  const float first_absmax = block_max(fabsf(m), shared), second_absmax = block_max(v, shared);
  if (threadIdx.x == 0) {
    moments.first_absmax[blockIdx.x] = first_absmax;
    moments.second_absmax[blockIdx.x] = second_absmax;
  }
  if (i >= count) return;
  int code = nearest(first_code, __fdiv_rn(m, first_absmax > 0 ? first_absmax : 1.0f));
  if ((__float_as_int(first_code[code]) ^ __float_as_int(m)) < 0) code += m > 0 ? 1 : -1;
  moments.first[i] = static_cast<uint8_t>(code);
  moments.second[i] =
      static_cast<uint8_t>(nearest(second_code, __fdiv_rn(v, second_absmax > 0 ? second_absmax : 1.0f)));
}

}  // namespace

void adamw8bit_update(cudaStream_t stream, float* parameter, float* gradient, const QuantizedMoments& moments,
                      int64_t count, const GradientNorm* norm, const AdamwOptions& options, const float* first_map,
                      const float* second_map) {
  launch(update_kernel, dim3(static_cast<unsigned>(ceil_div(count, kThreads))), dim3(kThreads),
         (32 + 2 * 256) * sizeof(float), stream, parameter, gradient, moments, count, norm, adamw_step(options),
         first_map, second_map);
}

}  // namespace humanizer::cuda
