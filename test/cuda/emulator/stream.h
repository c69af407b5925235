// Work on a stream.
#pragma once

#include <functional>

#include "../emulated/runtime_api.h"

namespace emulated_cuda {

using Run = std::function<void()>;
// Called when the work becomes the stream's, also at each launch of the graph that it was captured into; what it
// returns runs when the work's turn comes, with device memory in reach.
using Submit = std::function<Run()>;

cudaError_t append(cudaStream_t stream, Submit submit);

}  // namespace emulated_cuda
