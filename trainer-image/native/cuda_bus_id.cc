// Of an engine with the kernels; no_cuda.cc has the other.
#include <cuda_runtime_api.h>

#include "nvml.h"

namespace humanizer {

std::string cuda_bus_id() {
  char id[32] = "";
  if (cudaDeviceGetPCIBusId(id, sizeof id, 0) == cudaSuccess) return id;  // cuda.cu computes on device 0
  cudaGetLastError();
  return "";
}

}  // namespace humanizer
