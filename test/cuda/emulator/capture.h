#pragma once

#include "../emulated/runtime_api.h"

namespace emulated_cuda {
// A stream is being captured: calls that allocate or wait are not allowed.
bool capturing();
// What such a call answers; the captures are invalid from then on.
cudaError_t refuse_in_capture();
}  // namespace emulated_cuda
