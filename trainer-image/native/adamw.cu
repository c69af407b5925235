// adamw.h on the device. The norm is summed in f64 in kNormParts parts; what the update decides by it, it reads there.
#include "adamw.cuh"
#include "adamw.h"
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) squares_kernel(double* parts, const float* gradient, int64_t count) {
  double sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += kNormParts * kThreads) {
    sum += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  }
  sum = block_sum(sum, dynamic_shared<double>());
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void __launch_bounds__(kNormParts) norm_kernel(GradientNorm* norm, const double* parts, double scale) {
  const double squares = block_sum(parts[threadIdx.x], dynamic_shared<double>());
  if (threadIdx.x != 0) return;
  norm->norm = sqrt(squares) * fabs(scale);
  norm->skip = norm->norm < INFINITY ? 0 : 1;  // a NaN is not either
}

__global__ void __launch_bounds__(kThreads)
    update_kernel(float* parameter, float* gradient, float* first, float* second, int64_t count,
                  const GradientNorm* norm, AdamwStep step) {
  const bool skip = norm->skip != 0;
  const AdamwScalars s = scalars_of(step, *norm, dynamic_shared<float>());
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= count) return;
  if (!skip) {
    const float g = mul(s.scale, gradient[i]);
    const float m = first_moment(s, first[i], g), v = second_moment(s, second[i], g);
    first[i] = m;
    second[i] = v;
    parameter[i] = updated(s, parameter[i], m, v);
  }
  gradient[i] = 0;
}

}  // namespace

void gradient_norm(cudaStream_t stream, GradientNorm* norm, const float* gradient, int64_t count, double gradient_scale,
                   double* scratch) {
  launch(squares_kernel, dim3(kNormParts), dim3(kThreads), 32 * sizeof(double), stream, scratch, gradient, count);
  launch(norm_kernel, dim3(1), dim3(kNormParts), 32 * sizeof(double), stream, norm, scratch, gradient_scale);
}

void adamw_update(cudaStream_t stream, float* parameter, float* gradient, float* first, float* second, int64_t count,
                  const GradientNorm* norm, const AdamwOptions& options) {
  launch(update_kernel, dim3(static_cast<unsigned>(ceil_div(count, kThreads))), dim3(kThreads), sizeof(float), stream,
         parameter, gradient, first, second, count, norm, adamw_step(options));
}

}  // namespace humanizer::cuda
