// Which pieces of a block are lent, from its end down. They are given back on any thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
#include <map>
#include <mutex>

namespace humanizer {

class LentBlocks {
 public:
  LentBlocks(void* block, size_t bytes) : block_(static_cast<char*>(block)), bytes_(bytes / kStep * kStep) {}

  // As near to the end as there is a gap for it; null where there is none.
  void* take(size_t bytes) {
    const size_t size = (bytes + kStep - 1) / kStep * kStep;
    const std::lock_guard lock(mutex_);
    size_t end = bytes_;
    for (auto piece = pieces_.rbegin(); piece != pieces_.rend(); ++piece) {
      if (end - (piece->first + piece->second) >= size) break;
      end = piece->first;
    }
    if (size > end) return nullptr;
    pieces_.emplace(end - size, size);
    return block_ + (end - size);
  }

  void give_back(const void* piece) {
    const std::lock_guard lock(mutex_);
    pieces_.erase(static_cast<size_t>(static_cast<const char*>(piece) - block_));
  }

  // From which byte on something is lent; the largest of numbers where nothing is.
  size_t first() const {
    const std::lock_guard lock(mutex_);
    return pieces_.empty() ? std::numeric_limits<size_t>::max() : pieces_.begin()->first;
  }

 private:
  static constexpr size_t kStep = 256;  // as the device's own allocations begin
  char* const block_;
  const size_t bytes_;
  mutable std::mutex mutex_;
  std::map<size_t, size_t> pieces_;  // where each begins, and its bytes
};

}  // namespace humanizer
