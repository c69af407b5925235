// SwiGLU: y = silu(g) * u,  silu(g) = g * s,  s = 1 / (1 + exp(-g))
//   gu   (R, 2F)  gate in columns [0, F), up in [F, 2F)
//   y    (R, F)
// Backward: du = dy * silu(g),  dg = dy * u * s * (1 + g * (1 - s)), written to dgu (may be gu).
#pragma once

#include "tensor.h"

namespace humanizer {

using SwigluForward = void(Rows y, ConstRows gu);
using SwigluBackward = void(Rows dgu, ConstRows dy, ConstRows gu);

}  // namespace humanizer
