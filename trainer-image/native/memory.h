// Where every large block of the engine lives: 64-byte aligned, counted, freed with its owner. A block lies in the
// memory of its model's backend, which on a device the host cannot touch: bytes get there and back through Memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "lent_blocks.h"

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

// A backend's memory. What is asked for is done in the order of the calling thread's stream.
struct Memory {
  // zeroed: else what lies there is not defined. Throws Error{kOutOfMemory} naming the size.
  void* (*allocate)(size_t bytes, bool zeroed);
  void (*release)(void* block, size_t bytes);
  void (*zero)(void* to, size_t bytes);
  void (*copy)(void* to, const void* from, size_t bytes);        // within it
  void (*upload)(void* to, const void* host, size_t bytes);      // the host's bytes are free when the call returns
  void (*download)(void* host, const void* from, size_t bytes);  // waits for all that was asked for before
};
extern const Memory kHostMemory;

// Bytes held by one model, its adapters and its sequences, and where they lie.
struct Account {
  explicit Account(const Memory& where = kHostMemory) : memory(where) {}
  const Memory& memory;
  std::atomic<int64_t> resident{0}, peak{0};
};

class Buffer {
 public:
  Buffer() = default;
  // Throws Error{kOutOfMemory} naming the size.
  Buffer(Account& account, size_t bytes, bool zeroed = true);
  // Of memory that is somebody's: not counted, and given back instead of freed.
  Buffer(Account& account, std::shared_ptr<LentBlocks> lender, void* data, size_t bytes)
      : data_(data), bytes_(bytes), account_(&account), lender_(std::move(lender)) {}
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
  bool lent() const { return lender_ != nullptr; }
  const Memory& memory() const { return account_->memory; }  // of a buffer that has an owner

 private:
  void swap(Buffer& other) noexcept;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Account* account_ = nullptr;
  std::shared_ptr<LentBlocks> lender_;
};

// A buffer with the bytes of a vector.
template <class T>
Buffer filled(Account& account, const std::vector<T>& values) {
  Buffer buffer(account, values.size() * sizeof(T), false);
  if (!values.empty()) account.memory.upload(buffer.as<void>(), values.data(), values.size() * sizeof(T));
  return buffer;
}

// The host's bytes on their way into a new buffer: where the host can write there, the buffer's own.
class Filling {
 public:
  Filling(Account& account, size_t bytes) : buffer_(account, bytes, false) {
    if (&account.memory != &kHostMemory) host_.resize(bytes);
  }
  uint8_t* data() { return host_.empty() ? buffer_.as<uint8_t>() : host_.data(); }
  Buffer done() {
    if (!host_.empty()) buffer_.memory().upload(buffer_.as<void>(), host_.data(), host_.size());
    return std::move(buffer_);
  }

 private:
  Buffer buffer_;
  std::vector<uint8_t> host_;
};

// Scratch of one operation. A plan is a function that takes its blocks in a fixed order; it is run twice: once on an
// arena without memory, which only adds up, and once on the block of that size. The memory is kept for the next
// operation; what of it no plan takes can be lent till one does.
class Arena {
 public:
  explicit Arena(Account& account) : account_(account) {}

  // Memory for the plan, so that laying it out later takes none. Every pointer of the plan before is invalid
  // afterwards. Where the plan takes what is lent, call_in() must see to it that all of that has been given back.
  template <class Plan, class CallIn>
  void reserve(Plan plan, const CallIn& call_in) {
    base_ = nullptr;
    used_ = 0;
    plan(*this);
    const size_t needed = used_;
    if (needed > lent_->first()) call_in();
    if (needed <= block_.bytes()) return;
    lent_ = std::make_shared<LentBlocks>(nullptr, 0);
    block_ = Buffer();
    block_ = Buffer(account_, needed, false);
    lent_ = std::make_shared<LentBlocks>(block_.as<void>(), needed);
  }

  // From the end of the block; where nothing is left there, memory of its own.
  Buffer lend(size_t bytes) {
    void* data = lent_->take(bytes);
    if (!data) return Buffer(account_, bytes, false);
    allow(data, bytes);
    return Buffer(account_, lent_, data, bytes);
  }

  // Where plans are laid out.
  const void* data() const { return block_.as<const void>(); }

  // A plan that was reserved. Every pointer of the plan before is invalid afterwards.
  template <class Plan>
  auto lay_out(Plan plan) {
    base_ = block_.as<char>();
    forbid(base_, std::min(lent_->first(), block_.bytes()));
    used_ = 0;
    return plan(*this);
  }

  template <class T = float>
  T* take(int64_t count) {
    return static_cast<T*>(take_bytes(static_cast<size_t>(count) * sizeof(T)));
  }
  void* take_bytes(size_t bytes) {
    char* at = base_ ? base_ + used_ : nullptr;
    if (at) allow(at, bytes);
    used_ += (bytes + 63) / 64 * 64 + kArenaGap;
    return at;
  }

  // Each takes its blocks from the same place on: what two of them take is never in use at the same time.
  template <class... Takes>
  void overlay(const Takes&... takes) {
    const size_t begin = used_;
    size_t end = begin;
    const auto from_begin = [&](const auto& take) {
      used_ = begin;
      take();
      end = std::max(end, used_);
    };
    (from_begin(takes), ...);
    used_ = end;
  }

 private:
  Account& account_;
  Buffer block_;
  std::shared_ptr<LentBlocks> lent_ = std::make_shared<LentBlocks>(nullptr, 0);
  char* base_ = nullptr;
  size_t used_ = 0;
};

}  // namespace humanizer
