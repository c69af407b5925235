#include "backend.h"
#include "error.h"

namespace humanizer {

namespace baseline {
extern const Backend kBackend;
}
namespace avx2 {
extern const Backend kBackend;
}
namespace avx512 {
extern const Backend kBackend;
}
namespace avx512_bf16 {
extern const Backend kBackend;
}

std::vector<const Backend*> cpu_backends() {
  std::vector<const Backend*> backends = {&baseline::kBackend};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    backends.push_back(&avx2::kBackend);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    backends.push_back(&avx512::kBackend);
    if (__builtin_cpu_supports("avx512bf16")) backends.push_back(&avx512_bf16::kBackend);
  }
  return backends;
}

const Backend& cpu_backend() {
  static const Backend& widest = []() -> const Backend& {
    const Backend* found = nullptr;
    for (const Backend* backend : cpu_backends()) found = backend->bf16_matmul ? found : backend;
    return *found;
  }();
  return widest;
}

const Backend& cpu_backend(std::string_view instruction_path) {
  for (const Backend* backend : cpu_backends()) {
    if (backend->instruction_path == instruction_path) return *backend;
  }
  throw Error(Code::kInvalidArgument,
              "instructionPath is " + std::string(instruction_path) + ", which this processor has not");
}

}  // namespace humanizer
