// An adapter's update written into the weight that it was trained beside: W + scale * (B A), made in f32 from the bytes
// of the file in the order in which PEFT's merge_and_unload makes it, and rounded once (to even) to the file's type.
#pragma once

#include "lora.h"
#include "weight.h"

namespace humanizer {

// The bytes of the merged tensor, row-major, in the source's format: F32, F16 or BF16.
//   source (out, in)   lora.a (rank, in)   lora.b (out, rank)
// Throws Error{kDataInvalid} naming the tensor when it has another format, no finite value, or a merged value is too
// large for its type.
std::vector<uint8_t> merge(const Backend& backend, const TensorSource& source, const LoraWeights& lora);

}  // namespace humanizer
