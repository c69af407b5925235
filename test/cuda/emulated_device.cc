// What a test tells the emulated device of another process: EMULATED_CUDA="DEVICES VERSION CAPABILITY" when the addon
// is loaded, as set_driver and claim_capability take them, and SIGUSR2 for an ECC error from then on.
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "emulator/emulator.h"

namespace {

[[gnu::constructor]] void hear() {
  int devices = 1, version = 13000, capability = 0;
  if (const char* told = std::getenv("EMULATED_CUDA");
      told && std::sscanf(told, "%d %d %d", &devices, &version, &capability) >= 2) {
    emulated_cuda::set_driver(devices, version);
    emulated_cuda::claim_capability(capability);
  }
  std::signal(SIGUSR2, [](int) { emulated_cuda::break_device(cudaErrorECCUncorrectable); });
}

}  // namespace
