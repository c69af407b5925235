// The large dense products on the device, by cuBLASLt: c = alpha * op(a) op(b) + beta * c with the shapes of matmul.h,
// sums in f32. An algorithm is chosen when a shape first comes and kept, never one that adds up parts of a sum
// (split-K): the same bits on every run. Call it for every shape before a step is captured or timed.
#pragma once

#include <cuda_bf16.h>

#include <memory>

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
  struct Plans;
  std::unique_ptr<Plans> plans_;
};

}  // namespace humanizer::cuda
