// few_rows.h's product on processors that multiply pairs of bf16 into f32 (vdpbf16ps), for matrices that read the same
// x: their outputs stand side by side in y.
//   y = beta y + x W^T,  W = [parts[0]; parts[1]; ...]      x (R, in)   y (R, out of all parts)   beta 0 or 1
// x is rounded to the nearest bf16, ties to even. Of NF4 the sixteen code values are rounded so, not code * absmax:
// their products are summed over 64 values in f32, and that sum is scaled by the f32 absmax. W in BF16 is as it is; of
// any other W, or NF4 whose rows are no whole number of 64 values, the f32 values are rounded.
// A row's sums are taken in an order that only W's shape sets: the same bits whatever rows stand beside it. So it takes
// any number of them: of many bf16_matmul is quicker, by up to a half.
#pragma once

#include "few_rows.h"

namespace humanizer {

// Floats of scratch beside those of few_rows_matmul: x in two orders.
static inline int64_t few_rows_bf16_scratch(int64_t rows, int64_t in) { return 16 + rows * ((in + 255) / 256 * 256); }

// scratch: what few_rows_matmul takes for the largest part, and few_rows_bf16_scratch.
using FewRowsBf16 = void(Rows y, ConstRows x, const HeldMatrix* parts, int64_t count, float beta, float* scratch);

}  // namespace humanizer
