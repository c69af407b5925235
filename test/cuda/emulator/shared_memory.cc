// Shared memory of the block that runs.
#include <link.h>
#include <sys/mman.h>

#include <cstring>

#include "block.h"
#include "device.h"
#include "failure.h"
#include "memory.h"

namespace emulated_cuda {
namespace {

constexpr size_t kPage = 4096;

struct ThreadLocals {
  char* start;
  size_t bytes;
};

// The program's own thread-local block: there stand the __shared__ variables, and what the host's code keeps there.
ThreadLocals thread_locals() {
  static const ThreadLocals found = [] {
    ThreadLocals locals{nullptr, 0};
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void* result) {
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            if (info->dlpi_phdr[i].p_type != PT_TLS) continue;
            *static_cast<ThreadLocals*>(result) = {static_cast<char*>(info->dlpi_tls_data), info->dlpi_phdr[i].p_memsz};
          }
          return 1;
        },
        &locals);
    return locals;
  }();
  return found;
}

struct DynamicShared {
  char* start = nullptr;  // ends at a page that nobody may touch
  size_t bytes = 0;
  char* end = nullptr;
} dynamic_shared;

}  // namespace

SharedMemory::SharedMemory(size_t dynamic_bytes) {
  const ThreadLocals locals = thread_locals();
  saved_.assign(locals.start, locals.start + locals.bytes);
  constexpr size_t kReserve = 256 * 1024;
  if (!dynamic_shared.end) {
    void* memory = mmap(nullptr, kReserve + kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kReserve, PROT_READ | PROT_WRITE) != 0) fail("no shared memory");
    dynamic_shared.end = static_cast<char*>(memory) + kReserve;
  }
  dynamic_shared.bytes = (dynamic_bytes + 15) / 16 * 16;
  dynamic_shared.start = dynamic_shared.end - dynamic_shared.bytes;
}

SharedMemory::~SharedMemory() {
  const ThreadLocals locals = thread_locals();
  std::memcpy(locals.start, saved_.data(), locals.bytes);
  dynamic_shared.bytes = 0;
}

void SharedMemory::poison() const {
  const ThreadLocals locals = thread_locals();
  fill_poison(locals.start, locals.bytes);
  fill_poison(dynamic_shared.start, dynamic_shared.bytes);
}

void* dynamic_shared_memory() {
  if (dynamic_shared.bytes == 0) fail("dynamic shared memory is used by a kernel that was started without any");
  return dynamic_shared.start;
}

void expect_shared(const void* address, size_t bytes, const char* instruction) {
  const auto* at = static_cast<const char*>(address);
  const ThreadLocals locals = thread_locals();
  if (at >= locals.start && at + bytes <= locals.start + locals.bytes) return;
  if (at >= dynamic_shared.start && at + bytes <= dynamic_shared.end) return;
  fail("%s of an address outside of shared memory", instruction);
}

void expect_aligned(const void* address, size_t bytes, const char* instruction) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    fail("%s of address %p, which is not aligned to %zu", instruction, address, bytes);
}

}  // namespace emulated_cuda
