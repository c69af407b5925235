// Pairs of texts that were compared and are not similar.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace humanizer {

// As many as one place for each hash keeps, in 2 MB. What it forgot is compared again.
class Refused {
 public:
  bool has(uint32_t a, uint32_t b) const { return pairs_[place(a, b)] == pair(a, b); }
  void add(uint32_t a, uint32_t b) { pairs_[place(a, b)] = pair(a, b); }

 private:
  static constexpr int kBits = 18;
  static uint64_t pair(uint32_t a, uint32_t b) { return uint64_t{a} << 32 | b; }
  static size_t place(uint32_t a, uint32_t b) { return (pair(a, b) * 0x9e3779b97f4a7c15ULL) >> (64 - kBits); }
  std::vector<uint64_t> pairs_ = std::vector<uint64_t>(size_t{1} << kBits);  // (0, 0) is no pair
};

}  // namespace humanizer
