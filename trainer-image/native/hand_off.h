// When a second thread is no help: until threads have met, which takes microseconds, one alone has done this many
// values of a simple operation. A step of generation has few.
#pragma once

#include <cstdint>

namespace humanizer {

inline constexpr int64_t kWorthThreads = 8192;

}  // namespace humanizer
