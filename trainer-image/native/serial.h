// Numbers that no two objects of a process share, also when one lies where another lay.
#pragma once

#include <atomic>
#include <cstdint>

namespace humanizer {

inline int64_t next_serial() {
  static std::atomic<int64_t> last{0};
  return ++last;
}

}  // namespace humanizer
