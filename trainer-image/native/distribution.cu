// distribution.h on the device. A block of threads a row, which is read twice, the second time from the cache: every
// term is then about the largest logit from the start, and nothing is brought to another maximum but what earlier
// blocks of the vocabulary left. Sums of a thread's few columns are f32, across threads f64: the variance is the
// difference of two sums.
#include "device_ops.cuh"
#include "distribution.h"

namespace humanizer::cuda {

namespace {

constexpr int kThreads = 256;

template <bool kVector>
__global__ void __launch_bounds__(kThreads)
    distribution_kernel(RowDistribution* rows, View<const float> z, const int32_t* labels, int64_t first) {
  double* shared = dynamic_shared<double>();
  const float* row = z.row(blockIdx.x);
  // A NaN is in no comparison and so never the maximum; the sums it then spoils are the .cc's way too.
  float maximum = first == 0 ? -INFINITY : rows[blockIdx.x].maximum;
  for (int64_t c = 8 * threadIdx.x; c < z.cols; c += 8 * kThreads) {
    const Eight x = load8<kVector>(row + c, z.cols - c);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (kVector || c + i < z.cols) maximum = x.at[i] > maximum ? x.at[i] : maximum;
    }
  }
  maximum = block_max(maximum, reinterpret_cast<float*>(shared));
  float total = 0, linear = 0, square = 0;
  for (int64_t c = 8 * threadIdx.x; c < z.cols; c += 8 * kThreads) {
    const Eight x = load8<kVector>(row + c, z.cols - c);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (!kVector && c + i >= z.cols) continue;
      const float d = x.at[i] - maximum, e = expf(d), ed = e * d;
      total += e;
      linear += ed;
      square += ed * d;
    }
  }
  const double sum = block_sum(static_cast<double>(total), shared);
  const double sum_linear = block_sum(static_cast<double>(linear), shared);
  const double sum_square = block_sum(static_cast<double>(square), shared);
  if (threadIdx.x != 0) return;
  const RowDistribution before = first == 0 ? RowDistribution{0, 0, 0, -INFINITY, 0} : rows[blockIdx.x];
  RowDistribution now{sum, sum_linear, sum_square, maximum, before.target};
  // About the new maximum every d of before is less by `down`: sum exp(d - down) (d - down)^n, expanded.
  if (before.total > 0) {
    const double down = static_cast<double>(maximum) - static_cast<double>(before.maximum), scale = exp(-down);
    now.total += scale * before.total;
    now.first += scale * (before.first - down * before.total);
    now.second += scale * (before.second - 2 * down * before.first + down * down * before.total);
  } else {
    now.total += before.total;  // what was no number stays none
  }
  const int64_t label = labels[blockIdx.x] - first;
  if (label >= 0 && label < z.cols) now.target = row[label];
  rows[blockIdx.x] = now;
}

}  // namespace

void distribution_scan(cudaStream_t stream, RowDistribution* rows, View<const float> z, const int32_t* labels,
                       int64_t first) {
  launch(whole_eights(z) ? distribution_kernel<true> : distribution_kernel<false>, dim3(static_cast<unsigned>(z.rows)),
         dim3(kThreads), 32 * sizeof(double), stream, rows, z, labels, first);
}

}  // namespace humanizer::cuda
