// The large dense products on the device, by cuBLASLt: c = alpha * op(a) op(b) + beta * c with the shapes of matmul.h,
// sums in f32. An algorithm is chosen when a shape first comes and kept, never one that adds up parts of a sum
// (split-K): the same bits on every run. Call it for every shape before a step is captured or timed.
#pragma once

#include <cublasLt.h>
#include <cuda_bf16.h>

#include <array>
#include <map>

#include "matmul.h"
#include "view.h"

namespace humanizer::cuda {

class Products {
 public:
  // Takes the workspace from the device's memory. Throws Error{kOutOfMemory} or Error{kInternal}.
  explicit Products(size_t workspace_bytes);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  // T: both operands, float or bf16. C: the result, T or float. Throws Error{kInternal} naming the shape when cuBLASLt
  // has no algorithm for it.
  template <class T, class C>
  void multiply(cudaStream_t stream, View<C> c, View<const T> a, View<const T> b, Transpose transpose, float alpha,
                float beta);

 private:
  struct Plan {
    cublasLtMatmulDesc_t product = nullptr;
    cublasLtMatrixLayout_t a = nullptr, b = nullptr, c = nullptr;
    cublasLtMatmulAlgo_t algorithm{};
  };
  // Types, transposition, sizes, strides and alignments: all that the choice depends on.
  using Key = std::array<int64_t, 12>;

  const Plan& plan(const Key& key);
  void choose(Plan& plan, const Key& key);

  cublasLtHandle_t handle_ = nullptr;
  void* workspace_ = nullptr;
  size_t workspace_bytes_;
  std::map<Key, Plan> plans_;
};

}  // namespace humanizer::cuda
