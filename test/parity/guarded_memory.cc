#include "guarded_memory.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>

#include "memory.h"

namespace {

constexpr size_t kPage = 4096, kAlignment = 64;
std::atomic<int64_t> until_refusal{-1};

size_t rounded(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

}  // namespace

void refuse_block(int64_t which) { until_refusal = which; }

extern "C" {

void* __real_mmap(void*, size_t, int, int, int, off_t);
int __real_munmap(void*, size_t);

void* __wrap_mmap(void*, size_t bytes, int protection, int flags, int file, off_t offset) {
  if (until_refusal >= 0 && until_refusal-- == 0) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  const size_t inner = rounded(bytes, kPage);
  void* outer = __real_mmap(nullptr, inner + 2 * kPage, protection, flags, file, offset);
  if (outer == MAP_FAILED) return outer;
  char* first = static_cast<char*>(outer) + kPage;
  mprotect(outer, kPage, PROT_NONE);
  mprotect(first + inner, kPage, PROT_NONE);
  char* block = first + inner - rounded(bytes, kAlignment);
  humanizer::forbid(first, static_cast<size_t>(block - first));
  humanizer::forbid(block + bytes, rounded(bytes, kAlignment) - bytes);
  return block;
}

int __wrap_munmap(void* block, size_t bytes) {
  const size_t inner = rounded(bytes, kPage);
  char* first = static_cast<char*>(block) + rounded(bytes, kAlignment) - inner;
  humanizer::allow(first, inner);
  return __real_munmap(first - kPage, inner + 2 * kPage);
}
}
