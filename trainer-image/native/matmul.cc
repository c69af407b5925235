#include "matmul.h"

#include <dnnl.h>

#include "error.h"

namespace humanizer {

void matmul(Rows c, ConstRows a, ConstRows b, Transpose transpose, float alpha, float beta) {
  if (c.rows == 0 || c.cols == 0) return;
  const bool a_transposed = transpose == Transpose::kTN, b_transposed = transpose == Transpose::kNT;
  const int64_t inner = a_transposed ? a.rows : a.cols;
  const dnnl_status_t status = dnnl_sgemm(a_transposed ? 'T' : 'N', b_transposed ? 'T' : 'N', c.rows, c.cols, inner,
                                          alpha, a.data, a.stride, b.data, b.stride, beta, c.data, c.stride);
  if (status != dnnl_success) {
    throw Error(Code::kInternal, "oneDNN sgemm " + std::to_string(c.rows) + "x" + std::to_string(c.cols) + "x" +
                                     std::to_string(inner) + " failed with status " + std::to_string(status));
  }
}

}  // namespace humanizer
