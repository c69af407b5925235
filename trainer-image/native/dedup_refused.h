// Pairs of texts that were compared and are not similar.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace humanizer {

// As many as one place for each hash keeps, in 4 MB at most. What it forgot is compared again.
class Refused {
 public:
  explicit Refused(size_t wanted = kMost) : pairs_(std::bit_ceil(std::clamp<size_t>(wanted, 2, kMost))) {}
  bool has(uint32_t a, uint32_t b) const { return pairs_[place(a, b)] == pair(a, b); }
  void add(uint32_t a, uint32_t b) { pairs_[place(a, b)] = pair(a, b); }

 private:
  static constexpr size_t kMost = size_t{1} << 19;
  static uint64_t pair(uint32_t a, uint32_t b) { return uint64_t{a} << 32 | b; }
  size_t place(uint32_t a, uint32_t b) const {
    return (pair(a, b) * 0x9e3779b97f4a7c15ULL) >> (65 - std::bit_width(pairs_.size()));
  }
  std::vector<uint64_t> pairs_;  // (0, 0) is no pair
};

}  // namespace humanizer
