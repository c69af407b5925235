// Softmax cross-entropy, a block of the vocabulary at a time:  nll[r] = log(sum exp(z[r,:])) - z[r, label[r]]
//   z  (R, columns [first, first + cols) of V)  logits
// The scan goes over every block while it is fresh in the cache and leaves what the row's loss and gradient need; the
// gradient of a block then needs that block alone. Logits of all tokens never exist.
#pragma once

#include <cstdint>

#include "tensor.h"

namespace humanizer {

// A row's softmax over the blocks so far. nll = log(total) + maximum - target: not finite when a logit was not.
struct RowSoftmax {
  double total;  // sum of exp(z - maximum)
  float maximum, target;
};

// The block with first == 0 begins anew.
using CrossEntropyScan = void(RowSoftmax* rows, ConstRows z, const int32_t* labels, int64_t first);
// dz = d nll / d z = softmax(z) - onehot(label), after the scan of all blocks. dz may be z.
using CrossEntropyGradient = void(Rows dz, ConstRows z, const RowSoftmax* rows, const int32_t* labels, int64_t first);
// nll[r] of rows that have been scanned.
using CrossEntropyLoss = void(double* nll, const RowSoftmax* rows, int64_t count);
// sums[d] += the nll of rows [first[d], first[d + 1]), in their order.
using LossSums = void(double* sums, const double* nll, const int32_t* first, int64_t documents);

}  // namespace humanizer
