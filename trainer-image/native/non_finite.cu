// non_finite.h on the device: one block of threads a flag. When the sum or norm is finite it ends at once.
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 1024;

__device__ inline bool finite(float x) { return fabsf(x) < INFINITY; }

// Whether a thread of the block found one; shared: one int.
__device__ inline void tell(int32_t* flag, bool found, int* shared) {
  if (threadIdx.x == 0) *shared = 0;
  __syncthreads();
  if (found) atomicOr(shared, 1);
  __syncthreads();
  if (threadIdx.x == 0) *flag = *shared;
}

template <class T>
__global__ void __launch_bounds__(kThreads) rows_kernel(int32_t* flag, View<const T> x, const double* sum) {
  if (fabs(*sum) < static_cast<double>(INFINITY)) return;
  bool found = false;
  for (int64_t r = 0; r < x.rows; ++r) {
    for (int64_t c = threadIdx.x; c < x.cols; c += kThreads) found = found || !finite(to_float(x.row(r)[c]));
  }
  tell(flag, found, dynamic_shared<int>());
}

__global__ void __launch_bounds__(kThreads)
    parts_kernel(int32_t* flag, const float* values, const int64_t* begin, const GradientNorm* norm) {
  if (norm->skip == 0) return;
  bool found = false;
  for (int64_t i = begin[blockIdx.x] + threadIdx.x; i < begin[blockIdx.x + 1]; i += kThreads) {
    found = found || !finite(values[i]);
  }
  tell(flag + blockIdx.x, found, dynamic_shared<int>());
}

}  // namespace

template <class T>
void non_finite_rows(cudaStream_t stream, int32_t* flag, View<const T> x, const double* sum) {
  launch(rows_kernel<T>, dim3(1), dim3(kThreads), sizeof(int), stream, flag, x, sum);
}

void non_finite_parts(cudaStream_t stream, int32_t* flag, const float* values, const int64_t* begin, int64_t parts,
                      const GradientNorm* norm) {
  launch(parts_kernel, dim3(static_cast<unsigned>(parts)), dim3(kThreads), sizeof(int), stream, flag, values, begin,
         norm);
}

template void non_finite_rows(cudaStream_t, int32_t*, View<const float>, const double*);
template void non_finite_rows(cudaStream_t, int32_t*, View<const bf16>, const double*);

}  // namespace humanizer::cuda
