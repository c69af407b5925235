// Where values stopped being finite numbers, told in memory: looked for only when the sum or norm that they lead to is
// none, so that an ordinary step does not pay. Flags are 0 or 1, and not written when nothing is looked for.
#pragma once

#include "adamw.h"
#include "tensor.h"

namespace humanizer {

// flag = whether a value of x is an infinity or a NaN, unless *sum is finite.
using NonFiniteRows = void(int32_t* flag, ConstRows x, const double* sum);
// flag[p] = whether one of values[begin[p] .. begin[p + 1]) is, unless the norm is finite.
using NonFiniteParts = void(int32_t* flag, const float* values, const int64_t* begin, int64_t parts,
                            const GradientNorm* norm);

NonFiniteRows non_finite_rows;  // the CPU's
NonFiniteParts non_finite_parts;

}  // namespace humanizer
