// Who is in a call of the runtime: one thread at a time. A process may free on one thread what another is done with.
#pragma once

#include <mutex>

namespace emulated_cuda {

class Entry {
  static inline std::recursive_mutex mutex;
  const std::lock_guard<std::recursive_mutex> lock{mutex};
};

}  // namespace emulated_cuda
