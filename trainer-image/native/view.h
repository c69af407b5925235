// A view of device memory, for host and device code.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

namespace humanizer::cuda {

// A row-major matrix in device memory, as tensor.h's Rows: activations are f32 or bf16, and T const where only read.
template <class T>
struct View {
  T* data;
  int64_t rows, cols, stride;
  __host__ __device__ T* row(int64_t r) const { return data + r * stride; }
  template <class U, class = std::enable_if_t<std::is_same_v<U, const T> && !std::is_const_v<T>>>
  operator View<U>() const {
    return {data, rows, cols, stride};
  }
};

template <class T>
View<T> columns_of(View<T> x, int64_t begin, int64_t cols) {
  return {x.data + begin, x.rows, cols, x.stride};
}

}  // namespace humanizer::cuda
