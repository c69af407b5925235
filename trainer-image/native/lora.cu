// lora.h on the device: thin products, with the mask drawn where x is read. Where forward has not kept it, backward
// draws it once, for dA, and leaves its bits for dx. x, y, dx and dy are each read or written once by each product.
#include "device_ops.cuh"
#include "lora.h"
#include "philox.cuh"
#include "tile_product.cuh"

namespace humanizer::cuda {

namespace {

// drop(x)[row, column]: of a product over columns (h = drop(x) A^T) or over rows (dA = dh^T drop(x)). kDrawn: the mask
// is drawn, else read.
template <class T, bool kVector, bool kOverColumns, bool kDrawn>
struct Dropped {
  static constexpr bool kAlongK = kOverColumns;
  View<const T> x;
  Mask mask;
  __device__ Eight load(int64_t i, int64_t k) const {
    const int64_t row = kOverColumns ? i : k, column = kOverColumns ? k : i;
    if (row >= x.rows || column >= x.cols) return {};
    Eight v = load8<kVector>(x.row(row) + column, x.cols - column);
    if (mask.scale != 0) drop(v, kDrawn ? draw_mask(mask, row, column) : read_mask(mask, row, column), mask.scale);
    return v;
  }
};

// m[row, column] as it is. kAlong: k goes along the columns.
template <class T, bool kVector, bool kAlong>
struct Plain {
  static constexpr bool kAlongK = kAlong;
  View<const T> m;
  __device__ Eight load(int64_t i, int64_t k) const {
    const int64_t row = kAlong ? i : k, column = kAlong ? k : i;
    if (row >= m.rows || column >= m.cols) return {};
    return load8<kVector>(m.row(row) + column, m.cols - column);
  }
};

// to = scale * product
template <class T, bool kVector>
struct Scaled {
  View<T> to;
  float scale;
  __device__ void store(int64_t row, int64_t column, Eight v) const {
    if (row >= to.rows || column >= to.cols) return;
#pragma unroll
    for (int i = 0; i < 8; ++i) v.at[i] *= scale;
    store8<kVector>(to.row(row) + column, v, to.cols - column);
  }
};

// to = scale * product, or += .
template <class T, bool kVector, bool kAdd>
struct Added {
  View<T> to;
  float scale;
  __device__ void store(int64_t row, int64_t column, Eight v) const {
    if (row >= to.rows || column >= to.cols) return;
    T* at = to.row(row) + column;
    Eight sum = {};
    if constexpr (kAdd) sum = load8<kVector>(at, to.cols - column);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum.at[i] += scale * v.at[i];
    store8<kVector>(at, sum, to.cols - column);
  }
};

// to = mask * product, or +=, with the mask that lies in memory.
template <class T, bool kVector, bool kAdd>
struct Kept {
  View<T> to;
  Mask mask;
  __device__ void store(int64_t row, int64_t column, Eight v) const {
    if (row >= to.rows || column >= to.cols) return;
    if (mask.scale != 0) drop(v, read_mask(mask, row, column), mask.scale);
    T* at = to.row(row) + column;
    Eight sum = {};
    if constexpr (kAdd) sum = load8<kVector>(at, to.cols - column);
#pragma unroll
    for (int i = 0; i < 8; ++i) sum.at[i] += v.at[i];
    store8<kVector>(at, sum, to.cols - column);
  }
};

// Part blockIdx.z of a sum over rows, (m, n) of it.
struct Part {
  float* parts;
  int64_t m, n;
  __device__ void store(int64_t row, int64_t column, const Eight& v) const {
    if (row >= m) return;
    float* at = parts + (blockIdx.z * m + row) * n + column;
    store8<false>(at, v, n - column);
  }
};

constexpr int kThreads = 256;

// to (rows, rank) or, transposed, (rank, rows) += scale * the sum of the parts (rows, rank), in order.
template <bool kTransposed>
__global__ void __launch_bounds__(kThreads)
    add_parts_kernel(float* to, const float* parts, int64_t rows, int64_t rank, int64_t count, float scale) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= rows * rank) return;
  const int64_t row = kTransposed ? i % rows : i / rank, column = kTransposed ? i / rows : i % rank;
  float sum = 0;
  for (int64_t p = 0; p < count; ++p) sum += parts[(p * rows + row) * rank + column];
  to[i] += scale * sum;
}

// f(std::true_type or std::false_type)
template <class F>
void with_bool(bool value, F f) {
  value ? f(std::true_type()) : f(std::false_type());
}

View<const float> weight(const float* data, int64_t rows, int64_t cols) { return {data, rows, cols, cols}; }

}  // namespace

template <class T>
void lora_forward(cudaStream_t stream, View<T> y, View<T> h, View<const T> x, const LoraWeights& w,
                  const Dropout& dropout) {
  const View<const float> a = weight(w.a, w.rank, x.cols), b = weight(w.b, y.cols, w.rank);
  const Mask mask = mask_of(dropout, x.cols, dropout.kept);
  with_bool(whole_eights(x) && whole_eights(a), [&](auto v) {
    constexpr bool kVector = decltype(v)::value;
    tile_product<T>(stream, x.rows, w.rank, x.cols, x.cols, Dropped<T, kVector, true, true>{x, mask},
                    Plain<float, kVector, true>{a}, Scaled<T, false>{h, 1});
  });
  const View<const T> h_read = h;
  with_bool(whole_eights(y) && whole_eights(h) && whole_eights(b), [&](auto v) {
    constexpr bool kVector = decltype(v)::value;
    with_bool(w.beta != 0, [&](auto add) {
      tile_product<T>(stream, x.rows, y.cols, w.rank, w.rank, Plain<T, kVector, true>{h_read},
                      Plain<float, kVector, true>{b}, Added<T, kVector, decltype(add)::value>{y, w.scale});
    });
  });
}

template <class T>
void lora_backward(cudaStream_t stream, View<T> dx, float* da, float* db, View<const T> dy, View<const T> x,
                   View<const T> h, const LoraWeights& w, const Dropout& dropout, void* scratch) {
  const int64_t rows = x.rows, in = x.cols, out = dy.cols, parts = ceil_div(rows, kLoraPart);
  if (rows == 0) return;
  const View<const float> a = weight(w.a, w.rank, in), b = weight(w.b, out, w.rank);
  auto* sums = static_cast<float*>(scratch);
  float* after_sums = sums + parts * (in > out ? in : out) * w.rank;
  const View<T> dh{reinterpret_cast<T*>(after_sums), rows, w.rank, w.rank};
  uint32_t* kept = dropout.kept ? dropout.kept : reinterpret_cast<uint32_t*>(after_sums + rows * w.rank);
  const Mask mask = mask_of(dropout, in, kept);
  const View<const T> dh_read = dh;
  const auto add_parts = [&](auto kernel, float* to, int64_t count, float scale) {
    launch(kernel, dim3(static_cast<unsigned>(ceil_div(count * w.rank, kThreads))), dim3(kThreads), 0, stream, to, sums,
           count, w.rank, parts, scale);
  };
  // dh = scale dy B
  with_bool(whole_eights(dy) && whole_eights(b), [&](auto v) {
    constexpr bool kVector = decltype(v)::value;
    tile_product<T>(stream, rows, w.rank, out, out, Plain<T, kVector, true>{dy}, Plain<float, kVector, false>{b},
                    Scaled<T, false>{dh, w.scale});
  });
  // dB += scale dy^T h
  with_bool(whole_eights(dy) && whole_eights(h), [&](auto v) {
    constexpr bool kVector = decltype(v)::value;
    tile_product<T>(stream, out, w.rank, rows, kLoraPart, Plain<T, kVector, false>{dy}, Plain<T, kVector, false>{h},
                    Part{sums, out, w.rank});
  });
  add_parts(add_parts_kernel<false>, db, out, w.scale);
  // dA += dh^T drop(x), made as its transpose
  with_bool(whole_eights(x) && whole_eights(dh), [&](auto v) {
    with_bool(dropout.kept, [&](auto read) {
      constexpr bool kVector = decltype(v)::value, kDrawn = !decltype(read)::value;
      tile_product<T>(stream, in, w.rank, rows, kLoraPart, Dropped<T, kVector, false, kDrawn>{x, mask},
                      Plain<T, kVector, false>{dh_read}, Part{sums, in, w.rank});
    });
  });
  add_parts(add_parts_kernel<true>, da, in, 1.0f);
  if (!dx.data) return;
  // dx += drop'(dh A)
  with_bool(whole_eights(dx) && whole_eights(dh) && whole_eights(a), [&](auto v) {
    constexpr bool kVector = decltype(v)::value;
    with_bool(w.beta != 0, [&](auto add) {
      tile_product<T>(stream, rows, in, w.rank, w.rank, Plain<T, kVector, true>{dh_read},
                      Plain<float, kVector, false>{a}, Kept<T, kVector, decltype(add)::value>{dx, mask});
    });
  });
}

template void lora_forward(cudaStream_t, View<float>, View<float>, View<const float>, const LoraWeights&,
                           const Dropout&);
template void lora_forward(cudaStream_t, View<bf16>, View<bf16>, View<const bf16>, const LoraWeights&, const Dropout&);
template void lora_backward(cudaStream_t, View<float>, float*, float*, View<const float>, View<const float>,
                            View<const float>, const LoraWeights&, const Dropout&, void*);
template void lora_backward(cudaStream_t, View<bf16>, float*, float*, View<const bf16>, View<const bf16>,
                            View<const bf16>, const LoraWeights&, const Dropout&, void*);

}  // namespace humanizer::cuda
