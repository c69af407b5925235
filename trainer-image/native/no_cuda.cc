// Stands for cuda.cu, cuda_memory.cu and cuda_bus_id.cc in an engine for the CPU alone.
#include "cuda.h"
#include "device_error.h"
#include "nvml.h"

namespace humanizer {

namespace {

[[noreturn]] void refuse() {
  throw DeviceUnavailable(
      "this engine was built for the CPU alone: a GPU needs the image that was built with ENGINE=cuda");
}

}  // namespace

bool built_with_cuda() { return false; }
const Backend& cuda_backend() { refuse(); }
const Backend& cuda_f32_backend() { refuse(); }
DeviceMemory device_memory() { refuse(); }
std::string cuda_bus_id() { return ""; }

}  // namespace humanizer
