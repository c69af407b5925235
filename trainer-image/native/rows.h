// Rows picked by their indices: out[r,:] = the values of row tokens[r] of w; to[r,:] = from[indices[r],:];
// to[indices[r],:] = from[r,:]. Indices lie in the backend's memory.
#pragma once

#include "few_rows.h"
#include "tensor.h"

namespace humanizer {

using Embedding = void(Rows out, const HeldMatrix& w, const int32_t* tokens);
using GatherRows = void(Rows to, ConstRows from, const int32_t* indices);
using ScatterRows = void(Rows to, ConstRows from, const int32_t* indices);
// out = the values of w, dense, in the backend's type of activations.
using DecodeHeld = void(Rows out, const HeldMatrix& w);
// to = from, rounded where to is narrower.
using CopyRows = void(Rows to, ConstRows from);

}  // namespace humanizer
