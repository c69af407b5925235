// How surprising a token is under a model, beside how surprising its own choice would be: of p = softmax(z[r,:])
//   mean = sum_v p_v log p_v    variance = sum_v p_v (log p_v)^2 - mean^2    log p[label[r]]
//   z  (R, columns [first, first + cols) of V)  logits
// As cross_entropy.h: the scan goes over a block of the vocabulary at a time, and logits of all tokens never exist.
#pragma once

#include <cstdint>

#include "tensor.h"

namespace humanizer {

// Sums over the blocks so far, about the largest logit: d = z - maximum, so that nothing overflows and no digit is lost
// to log p's size.
struct RowDistribution {
  double total, first, second;  // sum of exp(d), of exp(d) d, of exp(d) d^2
  float maximum, target;
};

// The block with first == 0 begins anew.
using DistributionScan = void(RowDistribution* rows, ConstRows z, const int32_t* labels, int64_t first);

}  // namespace humanizer
