#include "memory.h"

#include <sys/mman.h>

#include <utility>

#include "error.h"

namespace humanizer {

// mmap, not malloc: a released block goes back to the system at once, and zeroed pages cost nothing until they are
// touched.
Buffer::Buffer(Account& account, size_t bytes) : bytes_(bytes), account_(&account) {
  if (bytes == 0) return;
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw Error(Code::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
  madvise(block, bytes, MADV_HUGEPAGE);
  data_ = block;
  const int64_t now = account.resident.fetch_add(static_cast<int64_t>(bytes)) + static_cast<int64_t>(bytes);
  int64_t peak = account.peak.load();
  while (now > peak && !account.peak.compare_exchange_weak(peak, now)) {
  }
}

Buffer::~Buffer() {
  if (!data_) return;
  allow(data_, bytes_);
  munmap(data_, bytes_);
  account_->resident.fetch_sub(static_cast<int64_t>(bytes_));
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(account_, other.account_);
}

}  // namespace humanizer
