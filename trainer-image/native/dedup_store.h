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
  // What was appended is on its way to the disk from now on. Pages that wait for that make the system stop whoever asks
  // for memory, above all in a container.
  void begin_writing();
  void read(uint8_t* to, int64_t at, size_t count) const;
  // They will soon be read: the disk may begin.
  void will_read(int64_t at, size_t count) const;
  size_t size() const { return static_cast<size_t>(size_); }

 private:
  int file_;
  int64_t size_ = 0;
  int64_t begun_ = 0;
};

// Reads of a file that mostly go on where the one before ended.
class ReadAhead {
 public:
  // Until the next call.
  const uint8_t* read(const SpillFile& file, int64_t at, size_t count);

 private:
  std::vector<uint8_t> bytes_;
  int64_t at_ = 0;
};

// A run of bytes in pages of its own, zero at first: when it goes, the process's memory is smaller at once (a heap
// would keep it). Throws std::bad_alloc.
class Block {
 public:
  Block() = default;
  explicit Block(size_t size);
  ~Block();
  Block(Block&& other) noexcept { swap(other); }
  Block& operator=(Block&& other) noexcept {
    swap(other);
    return *this;
  }

  // Null when it is empty; else kSlack bytes more may be read, of any value.
  uint8_t* data() { return bytes_; }
  const uint8_t* data() const { return bytes_; }
  static constexpr size_t kSlack = 8;

 private:
  void swap(Block& other) {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
  }

  uint8_t* bytes_ = nullptr;
  size_t size_ = 0;
};

}  // namespace humanizer
