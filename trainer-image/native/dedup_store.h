// Bytes of the near-duplicate index: in memory first, in a file when there are too many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace humanizer {

// A file without a name: nothing is left of it when the process ends, however it ends. Throws std::system_error.
class SpillFile {
 public:
  // Makes the file in `folder`.
  explicit SpillFile(const std::string& folder);
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;

  // Where the bytes stand from now on.
  int64_t append(const uint8_t* bytes, size_t count);
  void read(uint8_t* to, int64_t at, size_t count) const;
  // They will soon be read: the disk may begin.
  void will_read(int64_t at, size_t count) const;
  size_t size() const { return static_cast<size_t>(size_); }

 private:
  int file_;
  int64_t size_ = 0;
};

// A run of bytes in pages of its own, zero at first: what leaves for the file leaves the process's memory at once (a
// heap would keep it). Throws std::bad_alloc.
class Block {
 public:
  Block() = default;
  explicit Block(size_t size);
  ~Block() { release(); }
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    swap(other);
    return *this;
  }

  uint8_t* data() { return bytes_; }
  size_t size() const { return size_; }
  // Bytes of memory that it takes.
  size_t resident() const { return bytes_ ? size_ : 0; }

  void move_to(SpillFile& file);

  // `count` bytes from `at` on; they lie in the block, or are brought into `room`. Whatever may be read beyond them is
  // at least kSlack bytes, of any value.
  const uint8_t* read(size_t at, size_t count, std::vector<uint8_t>& room) const;
  static constexpr size_t kSlack = 8;
  void will_read(size_t at, size_t count) const {
    if (!bytes_ && file_) file_->will_read(place_ + static_cast<int64_t>(at), count);
  }

 private:
  void release();
  void swap(Block& other) {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    std::swap(file_, other.file_);
    std::swap(place_, other.place_);
  }

  uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
  const SpillFile* file_ = nullptr;
  int64_t place_ = 0;
};

}  // namespace humanizer
