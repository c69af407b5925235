// Which texts belong together: union-find that several threads work on at once.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

namespace humanizer {

class Clusters {
 public:
  explicit Clusters(size_t texts) : parent_(texts) { std::iota(parent_.begin(), parent_.end(), 0); }
  size_t texts() const { return parent_.size(); }

  // True: they are. False: they may have become so meanwhile.
  bool together(uint32_t a, uint32_t b) { return a == b || root_of(a) == root_of(b); }

  // The smaller root becomes the parent, so that a root is always the first text of its cluster, whoever comes first.
  void unite(uint32_t a, uint32_t b) {
    for (;;) {
      a = root_of(a);
      b = root_of(b);
      if (a == b) return;
      if (a < b) std::swap(a, b);
      uint32_t expected = a;  // another thread may have given it a parent
      if (parent(a).compare_exchange_strong(expected, b, std::memory_order_relaxed)) return;
    }
  }

  // The first text of each one's cluster. No other thread may be at work.
  std::vector<uint32_t> firsts() && {
    for (uint32_t text = 0; text < parent_.size(); text++) parent_[text] = parent_[parent_[text]];
    return std::move(parent_);
  }

 private:
  std::atomic_ref<uint32_t> parent(uint32_t text) { return std::atomic_ref<uint32_t>(parent_[text]); }

  // Halves the path: a grandparent is an ancestor, whatever other threads do.
  uint32_t root_of(uint32_t text) {
    for (;;) {
      const uint32_t above = parent(text).load(std::memory_order_relaxed);
      if (above == text) return text;
      const uint32_t next = parent(above).load(std::memory_order_relaxed);
      if (next != above) parent(text).store(next, std::memory_order_relaxed);
      text = next;
    }
  }

  std::vector<uint32_t> parent_;  // of a text: itself or one before it
};

}  // namespace humanizer
