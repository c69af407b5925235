// Pairs of texts that bands propose, gathered so that each is compared once, in the order in which sets lie on disk.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "dedup_refused.h"

namespace humanizer {

// a < b
struct Candidate {
  uint32_t a, b;
  bool operator==(const Candidate&) const = default;
  bool operator<(const Candidate& other) const { return number() < other.number(); }
  uint64_t number() const { return uint64_t{a} << 32 | b; }
};

class Candidates {
 public:
  // Gathers as many as fit `room` bytes, in a vector that grows by doubling.
  explicit Candidates(size_t room) : most_(std::max(kLeast, room / (2 * sizeof(Candidate)))) {}

  void add(uint32_t a, uint32_t b) {
    if (!refused_ || !refused_->has(a, b)) pairs_.push_back({a, b});
  }

  // Whether it is time to compare them.
  bool full() {
    if (pairs_.size() < most_) return false;
    sort();
    return pairs_.size() > most_ / 2;
  }

  // Ascending, each once.
  std::span<const Candidate> sorted() {
    sort();
    return pairs_;
  }

  // Those that turn out not to be similar while bands are still to come: they need not be gathered again.
  Refused& refused() { return refused_ ? *refused_ : refused_.emplace(); }
  void clear() { pairs_.clear(); }

  void take(Candidates&& other) {
    pairs_.insert(pairs_.end(), other.pairs_.begin(), other.pairs_.end());
    other.pairs_ = {};
  }

 private:
  static constexpr size_t kLeast = 1 << 16;  // however little memory there is

  void sort() {
    std::sort(pairs_.begin(), pairs_.end());
    pairs_.erase(std::unique(pairs_.begin(), pairs_.end()), pairs_.end());
  }

  size_t most_;
  std::vector<Candidate> pairs_;
  std::optional<Refused> refused_;
};

}  // namespace humanizer
