// The order of everything that a device may order as it likes, drawn from one seed.
#pragma once

#include <cstdint>
#include <utility>

namespace emulated_cuda {

// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled").
class Random {
 public:
  explicit Random(uint64_t seed) : state_((seed + 1) * 0x9E3779B97F4A7C15ull) {}
  uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545F4914F6CDD1Dull;
  }
  uint32_t below(uint32_t bound) { return static_cast<uint32_t>((next() >> 32) * bound >> 32); }
  template <class T>
  void shuffle(T* values, uint32_t count) {
    for (uint32_t i = count; i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  uint64_t state_;
};

// How the runnable threads of a block take turns. Forward and Backward expose what only one order hides; Eager lets a
// warp run as far as it can before another starts; Mixed mixes all.
enum class Turns { Forward, Backward, Eager, Mixed };

struct Order {
  uint64_t seed = 1;
  Turns turns = Turns::Mixed;
  Random random{1};
};
inline Order order;

}  // namespace emulated_cuda
