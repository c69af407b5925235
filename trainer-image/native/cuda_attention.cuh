// Attention for the op table (attend.h), on the calling thread's stream.
#pragma once

#include "backend.h"

namespace humanizer::cuda {

AttentionScratch attend_scratch;
template <class T>
void attend(const Backend&, Rows out, float* lse, const AttentionRows& in, const Packing& packing,
            const AttentionShape& shape, float* scratch);
template <class T>
void attend_backward(const Backend&, Rows dq, Rows dk, Rows dv, ConstRows dout, Rows out, float* lse,
                     const AttentionRows& in, const Packing& packing, const AttentionShape& shape, float* scratch);

}  // namespace humanizer::cuda
