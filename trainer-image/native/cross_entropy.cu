// cross_entropy.h on the device. A block of threads a row; a thread keeps its own maximum and sum, so that the logits
// are read once.
#include "cross_entropy.h"
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 256;

template <class Z, bool kVector>
__global__ void __launch_bounds__(kThreads)
    scan_kernel(RowSoftmax* rows, View<const Z> z, const int32_t* labels, int64_t first) {
  float* shared = dynamic_shared<float>();
  const Z* row = z.row(blockIdx.x);
  // A NaN is in no comparison and so never the maximum; the sum it then spoils is the .cc's way too.
  float maximum = -INFINITY, sum = 0;
  for (int64_t c = 8 * threadIdx.x; c < z.cols; c += 8 * kThreads) {
    const Eight x = load8<kVector>(row + c, z.cols - c);
    float above = maximum;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (kVector || c + i < z.cols) above = x.at[i] > above ? x.at[i] : above;
    }
    sum = maximum == above ? sum : sum * expf(maximum - above);
    maximum = above;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (kVector || c + i < z.cols) sum += expf(x.at[i] - maximum);
    }
  }
  const RowSoftmax before = first == 0 ? RowSoftmax{0, -INFINITY, 0} : rows[blockIdx.x];
  const float largest = fmaxf(block_max(maximum, shared), before.maximum);
  sum = block_sum(maximum == -INFINITY && sum == 0 ? 0.0f : sum * expf(maximum - largest), shared);
  if (threadIdx.x != 0) return;
  RowSoftmax now = before;
  now.maximum = largest;
  now.total = static_cast<double>(sum);
  if (first != 0) now.total += before.total * exp(static_cast<double>(before.maximum) - static_cast<double>(largest));
  const int64_t label = labels[blockIdx.x] - first;
  if (label >= 0 && label < z.cols) now.target = to_float(row[label]);
  rows[blockIdx.x] = now;
}

template <class Z, class T, bool kVector>
__global__ void __launch_bounds__(kThreads)
    gradient_kernel(View<T> dz, View<const Z> z, const RowSoftmax* rows, const int32_t* labels, int64_t first) {
  const int64_t r = blockIdx.x, c = 8 * (static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x), left = z.cols - c;
  if (left <= 0) return;
  const float maximum = rows[r].maximum, reciprocal = static_cast<float>(1.0 / rows[r].total);
  Eight x = load8<kVector>(z.row(r) + c, left);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    x.at[i] = expf(x.at[i] - maximum) * reciprocal - (labels[r] - first == c + i ? 1.0f : 0.0f);
  }
  store8<kVector>(dz.row(r) + c, x, left);
}

__global__ void __launch_bounds__(kThreads) loss_kernel(double* nll, const RowSoftmax* rows, int64_t count) {
  const int64_t r = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (r >= count) return;
  nll[r] = log(rows[r].total) + static_cast<double>(rows[r].maximum) - static_cast<double>(rows[r].target);
}

// A block of threads a document: sums of the losses in an order that only their number sets.
__global__ void __launch_bounds__(kThreads) sums_kernel(double* sums, const double* nll, const int32_t* first) {
  double sum = 0;
  for (int32_t r = first[blockIdx.x] + static_cast<int32_t>(threadIdx.x); r < first[blockIdx.x + 1]; r += kThreads) {
    sum += nll[r];
  }
  sum = block_sum(sum, dynamic_shared<double>());
  if (threadIdx.x == 0) sums[blockIdx.x] += sum;
}

constexpr size_t kShared = 32 * sizeof(float);

dim3 a_block_each(int64_t rows) { return dim3(static_cast<unsigned>(rows)); }

}  // namespace

template <class Z>
void cross_entropy_scan(cudaStream_t stream, RowSoftmax* rows, View<const Z> z, const int32_t* labels, int64_t first) {
  launch(whole_eights(z) ? scan_kernel<Z, true> : scan_kernel<Z, false>, a_block_each(z.rows), dim3(kThreads), kShared,
         stream, rows, z, labels, first);
}

template <class Z, class T>
void cross_entropy_gradient(cudaStream_t stream, View<T> dz, View<const Z> z, const RowSoftmax* rows,
                            const int32_t* labels, int64_t first) {
  const bool whole = whole_eights(z) && whole_eights(dz);
  const dim3 grid(static_cast<unsigned>(z.rows), static_cast<unsigned>(ceil_div(z.cols, 8 * kThreads)));
  launch(whole ? gradient_kernel<Z, T, true> : gradient_kernel<Z, T, false>, grid, dim3(kThreads), 0, stream, dz, z,
         rows, labels, first);
}

void cross_entropy_loss(cudaStream_t stream, double* nll, const RowSoftmax* rows, int64_t count) {
  launch(loss_kernel, dim3(static_cast<unsigned>(ceil_div(count, kThreads))), dim3(kThreads), 0, stream, nll, rows,
         count);
}

void loss_sums(cudaStream_t stream, double* sums, const double* nll, const int32_t* first, int64_t documents) {
  launch(sums_kernel, a_block_each(documents), dim3(kThreads), 32 * sizeof(double), stream, sums, nll, first);
}

template void cross_entropy_scan(cudaStream_t, RowSoftmax*, View<const float>, const int32_t*, int64_t);
template void cross_entropy_scan(cudaStream_t, RowSoftmax*, View<const bf16>, const int32_t*, int64_t);
template void cross_entropy_gradient(cudaStream_t, View<float>, View<const float>, const RowSoftmax*, const int32_t*,
                                     int64_t);
template void cross_entropy_gradient(cudaStream_t, View<bf16>, View<const float>, const RowSoftmax*, const int32_t*,
                                     int64_t);
template void cross_entropy_gradient(cudaStream_t, View<bf16>, View<const bf16>, const RowSoftmax*, const int32_t*,
                                     int64_t);

}  // namespace humanizer::cuda
