// c = alpha * op(a) op(b) + beta * c, f32, by oneDNN's sgemm, which picks its kernel for the processor at run time.
//   kNN  a (M, K)  b (K, N)      y = x w
//   kNT  a (M, K)  b (N, K)      y = x w^T: a linear layer, w as stored (out, in)
//   kTN  a (K, M)  b (K, N)      dw = dy^T x
// Runs on all threads of the calling stream; inside a parallel region on the calling thread alone.
// Throws Error{kInternal} when oneDNN refuses.
#pragma once

#include "tensor.h"

namespace humanizer {

enum class Transpose { kNN, kNT, kTN };

using Matmul = void(Rows c, ConstRows a, ConstRows b, Transpose transpose, float alpha, float beta);
Matmul matmul;

}  // namespace humanizer
