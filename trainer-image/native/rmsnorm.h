// RMSNorm: y[r,:] = x[r,:] * w[:] * rstd[r],  rstd[r] = 1 / sqrt(mean(x[r,:]^2) + eps)
//   x, y, dx, dy  (R, C)  activations
//   w             (C)     frozen, so there is no dw
//   rstd          (R)     written forward, read backward and by the replay
// With n = x * rstd:  dx[r][c] += rstd[r] * (w[c] * dy[r][c] - n * mean(n * w * dy)); += : the residual stream also
// writes here.
#pragma once

#include "tensor.h"

namespace humanizer {

using RmsnormForward = void(Rows y, float* rstd, ConstRows x, const float* w, float eps);
// y again from x and rstd: the same bits as forward wrote.
using RmsnormReplay = void(Rows y, const float* rstd, ConstRows x, const float* w);
using RmsnormBackward = void(Rows dx, ConstRows dy, ConstRows x, const float* rstd, const float* w);

}  // namespace humanizer
