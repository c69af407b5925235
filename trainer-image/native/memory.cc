#include "memory.h"

#include <sys/mman.h>

#include <cstring>
#include <utility>

#include "error.h"

namespace humanizer {

namespace {

// mmap, not malloc: a released block goes back to the system at once, and zeroed pages cost nothing until they are
// touched.
void* allocate(size_t bytes, bool /* every page comes zeroed */) {
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (block == MAP_FAILED) throw Error(Code::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes");
  madvise(block, bytes, MADV_HUGEPAGE);
  return block;
}

void release(void* block, size_t bytes) {
  allow(block, bytes);
  munmap(block, bytes);
}

}  // namespace

const Memory kHostMemory = {
    .allocate = allocate,
    .release = release,
    .zero = [](void* to, size_t bytes) { std::memset(to, 0, bytes); },
    .copy = [](void* to, const void* from, size_t bytes) { std::memcpy(to, from, bytes); },
    .upload = [](void* to, const void* host, size_t bytes) { std::memcpy(to, host, bytes); },
    .download = [](void* host, const void* from, size_t bytes) { std::memcpy(host, from, bytes); },
};

Buffer::Buffer(Account& account, size_t bytes, bool zeroed) : account_(&account) {
  if (bytes == 0) return;
  data_ = account.memory.allocate(bytes, zeroed);
  bytes_ = bytes;
  const int64_t now = account.resident.fetch_add(static_cast<int64_t>(bytes)) + static_cast<int64_t>(bytes);
  int64_t peak = account.peak.load();
  while (now > peak && !account.peak.compare_exchange_weak(peak, now)) {
  }
}

Buffer::~Buffer() {
  if (!data_) return;
  if (lender_) {
    lender_->give_back(data_);
    return;
  }
  account_->memory.release(data_, bytes_);
  account_->resident.fetch_sub(static_cast<int64_t>(bytes_));
}

void Buffer::swap(Buffer& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(account_, other.account_);
  std::swap(lender_, other.lender_);
}

}  // namespace humanizer
