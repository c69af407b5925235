// Where every large block of the engine lives: 64-byte aligned, counted, freed with its owner.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace humanizer {

// AddressSanitizer knows no block of an arena from its neighbour: in its builds a gap that must not be touched lies
// between them.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr size_t kArenaGap = 64;
inline void forbid(const void* at, size_t bytes) { __asan_poison_memory_region(at, bytes); }
inline void allow(const void* at, size_t bytes) { __asan_unpoison_memory_region(at, bytes); }
#else
inline constexpr size_t kArenaGap = 0;
inline void forbid(const void*, size_t) {}
inline void allow(const void*, size_t) {}
#endif

// Bytes held by one model, its adapters and its sequences.
struct Account {
  std::atomic<int64_t> resident{0}, peak{0};
};

class Buffer {
 public:
  Buffer() = default;
  // Zeroed. Throws Error{kOutOfMemory} naming the size.
  Buffer(Account& account, size_t bytes);
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer();

  template <class T = float>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Account* account_ = nullptr;
};

// Scratch of one operation. A plan is a function that takes its blocks in a fixed order; it is run twice: once on an
// arena without memory, which only adds up, and once on the block of that size. The memory is kept for the next
// operation.
class Arena {
 public:
  explicit Arena(Account& account) : account_(account) {}

  // Every pointer of the plan before is invalid afterwards.
  template <class Plan>
  auto lay_out(Plan plan) {
    base_ = nullptr;
    used_ = 0;
    plan(*this);
    if (used_ > block_.bytes()) {
      block_ = Buffer();
      block_ = Buffer(account_, used_);
    }
    base_ = block_.as<char>();
    forbid(base_, block_.bytes());
    used_ = 0;
    return plan(*this);
  }

  template <class T = float>
  T* take(int64_t count) {
    char* at = base_ ? base_ + used_ : nullptr;
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (at) allow(at, bytes);
    used_ += (bytes + 63) / 64 * 64 + kArenaGap;
    return reinterpret_cast<T*>(at);
  }

 private:
  Account& account_;
  Buffer block_;
  char* base_ = nullptr;
  size_t used_ = 0;
};

}  // namespace humanizer
