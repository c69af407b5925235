#include "backend.h"

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

std::vector<const Backend*> cpu_backends() {
  std::vector<const Backend*> backends = {&baseline::kBackend};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c")) {
    backends.push_back(&avx2::kBackend);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    backends.push_back(&avx512::kBackend);
  }
  return backends;
}

const Backend& cpu_backend() {
  static const Backend& widest = *cpu_backends().back();
  return widest;
}

}  // namespace humanizer
