#include "dedup_store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <system_error>

namespace humanizer {
namespace {

constexpr size_t kReadAhead = 256 << 10;

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

}  // namespace

SpillFile::SpillFile(const std::string& folder) {
  std::string path = folder + "/near-duplicates-XXXXXX";
  file_ = mkostemp(path.data(), O_CLOEXEC);
  if (file_ < 0) fail("a file in " + folder);
  unlink(path.c_str());
}

SpillFile::~SpillFile() { close(file_); }

int64_t SpillFile::append(const uint8_t* bytes, size_t count) {
  const int64_t place = size_;
  while (count > 0) {
    const ssize_t done = pwrite(file_, bytes, count, size_);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("writing what is known of the texts");
    bytes += done;
    size_ += done;
    count -= static_cast<size_t>(done);
  }
  return place;
}

void SpillFile::begin_writing() {
  sync_file_range(file_, begun_, size_ - begun_, SYNC_FILE_RANGE_WRITE);
  begun_ = size_;
}

void SpillFile::read(uint8_t* to, int64_t at, size_t count) const {
  while (count > 0) {
    const ssize_t done = pread(file_, to, count, at);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("reading what is known of the texts");
    to += done;
    at += done;
    count -= static_cast<size_t>(done);
  }
}

void SpillFile::will_read(int64_t at, size_t count) const {
  posix_fadvise(file_, at, static_cast<off_t>(count), POSIX_FADV_WILLNEED);
}

const uint8_t* ReadAhead::read(const SpillFile& file, int64_t at, size_t count) {
  const auto end = at + static_cast<int64_t>(count);
  if (at < at_ || end > at_ + static_cast<int64_t>(bytes_.size())) {
    bytes_.resize(std::min(std::max(count, kReadAhead), file.size() - static_cast<size_t>(at)));
    file.read(bytes_.data(), at, bytes_.size());
    at_ = at;
  }
  return bytes_.data() + (at - at_);
}

Block::Block(size_t size) : size_(size) {
  if (size == 0) return;
  void* pages = mmap(nullptr, size + kSlack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) throw std::bad_alloc();
  bytes_ = static_cast<uint8_t*>(pages);
}

Block::~Block() {
  if (bytes_) munmap(bytes_, size_ + kSlack);
}

}  // namespace humanizer
