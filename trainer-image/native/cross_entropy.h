// Softmax cross-entropy of logits, in place:  nll[r] = log(sum exp(z[r,:])) - z[r, label[r]]
//   z    (R, V)  logits in, d nll / d z = softmax(z) - onehot(label) out (gradient true)
//   nll  (R)     f64: it is summed over many tokens
// The caller makes z for a few labelled rows at a time and multiplies it back at once: the logits of all tokens never
// exist.
#pragma once

#include <cstdint>

#include "tensor.h"

namespace humanizer {

using CrossEntropyOp = void(double* nll, Rows z, const int32_t* labels, bool gradient);

}  // namespace humanizer
