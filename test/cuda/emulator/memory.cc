#include "memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <map>

#include "capture.h"
#include "device.h"
#include "emulator.h"
#include "entry.h"
#include "failure.h"
#include "random.h"
#include "sparse.h"

namespace emulated_cuda {
namespace {

constexpr size_t kPage = 4096, kAlignment = 256;  // what cudaMalloc promises
constexpr unsigned char kMark = 0xC5;
constexpr size_t kSparseFrom = 64 << 20;
constexpr size_t kReserved = size_t{1} << 43;

struct Allocation {
  size_t bytes;
  char* first_page;  // a page that nobody may touch stands before it and after the last
  char* end_page;
  bool freed = false;
};
std::map<char*, Allocation> device;  // by the first byte
std::map<char*, size_t> pinned;
size_t capacity = size_t{8} << 30, allocated = 0;
int accesses = 0;

size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// Addresses are never given twice: what was freed stays out of reach.
char* reserve(size_t bytes) {
  static char* next = [] {
    void* memory = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("no address space for the device's memory");
    return static_cast<char*>(memory);
  }();
  char* const from = next;
  next += bytes;
  return from;
}

const std::pair<char* const, Allocation>* around(const void* address) {
  auto* const at = const_cast<char*>(static_cast<const char*>(address));
  auto found = device.upper_bound(at);
  if (found == device.begin()) return nullptr;
  --found;
  return at < found->second.end_page + kPage ? &*found : nullptr;
}

void protect(const Allocation& allocation, int protection) {
  if (mprotect(allocation.first_page, static_cast<size_t>(allocation.end_page - allocation.first_page), protection) !=
      0)
    fail("mprotect of device memory refused");
}

bool mark_intact(const char* from, const char* to) {
  return std::all_of(from, to, [](char byte) { return static_cast<unsigned char>(byte) == kMark; });
}

void on_fault(int, siginfo_t* info, void*) {
  const void* const address = info->si_addr;
  auto found = device.upper_bound(static_cast<char*>(info->si_addr));
  // The page before an allocation belongs to it, as the one behind it does.
  if (found != device.end() && static_cast<const char*>(address) >= found->second.first_page - kPage) {
    fail("%s of device memory %zd bytes before an allocation of %zu", accesses ? "access" : "the host's access",
         found->first - static_cast<const char*>(address), found->second.bytes);
  }
  if (const auto* allocation = around(address)) {
    const auto offset = static_cast<const char*>(address) - allocation->first;
    if (allocation->second.freed)
      fail("access to freed device memory, at byte %zd of %zu", offset, allocation->second.bytes);
    if (accesses == 0) fail("the host touched device memory, at byte %zd of %zu", offset, allocation->second.bytes);
    fail("access out of bounds: byte %zd of an allocation of %zu", offset, allocation->second.bytes);
  }
  fail("access to address %p, which is no memory", address);
}

void catch_faults() {
  static const bool once = [] {
    static char stack[64 * 1024];  // a fiber's own may be what overflowed
    const stack_t alternative{stack, 0, sizeof stack};
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaltstack(&alternative, nullptr);
    sigaction(SIGSEGV, &action, nullptr);
    sigaction(SIGBUS, &action, nullptr);
    return true;
  }();
  static_cast<void>(once);
}

}  // namespace

void fill_poison(char* memory, size_t bytes) {
  constexpr int kBytes[] = {0xFF, 0x7F, 0xC6, 0x00};  // NaN, 3.4e38, -25443.4, 0; in bf16 much the same
  std::memset(memory, kBytes[order.seed / 2 % 4], bytes);
}

DeviceAccess::DeviceAccess() {
  if (accesses++ > 0) return;
  for (const auto& [start, allocation] : device)
    if (!allocation.freed) protect(allocation, PROT_READ | PROT_WRITE);
}

DeviceAccess::~DeviceAccess() {
  if (--accesses > 0) return;
  for (const auto& [start, allocation] : device)
    if (!allocation.freed) protect(allocation, PROT_NONE);
}

void expect_device(const void* address, size_t bytes, const char* what) {
  const auto* allocation = around(address);
  const auto* at = static_cast<const char*>(address);
  if (!allocation) fail("%s: %p is no device memory", what, address);
  if (allocation->second.freed) fail("%s: freed device memory", what);
  if (at + bytes > allocation->first + allocation->second.bytes)
    fail("%s: bytes %zd to %zd of a device allocation of %zu", what, at - allocation->first,
         at + bytes - allocation->first, allocation->second.bytes);
}

bool is_device(const void* address) {
  const auto* allocation = around(address);
  return allocation && !allocation->second.freed;
}

bool is_pinned(const void* address, size_t bytes) {
  auto* const at = const_cast<char*>(static_cast<const char*>(address));
  auto found = pinned.upper_bound(at);
  if (found == pinned.begin()) return false;
  --found;
  return at + bytes <= found->first + found->second;
}

void expect_guards_intact() {
  for (const auto& [start, allocation] : device) {
    if (allocation.freed) continue;
    if (!mark_intact(std::max(allocation.first_page, start - 512), start))
      fail("something wrote before an allocation of %zu bytes", allocation.bytes);
    if (!mark_intact(start + allocation.bytes, allocation.end_page))
      fail("something wrote behind an allocation of %zu bytes", allocation.bytes);
  }
}

void set_memory(size_t bytes) { capacity = bytes; }
size_t allocated_bytes() { return allocated; }

}  // namespace emulated_cuda

using namespace emulated_cuda;

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  const Entry entry;
  catch_faults();
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  *pointer = nullptr;
  if (bytes == 0) return cudaSuccess;
  const size_t whole = up(bytes, kAlignment);
  if (allocated + whole > capacity) return answer(cudaErrorMemoryAllocation);
  const size_t pages = up(whole, kPage);
  char* const first_page = reserve(pages + 2 * kPage) + kPage;
  char* const end_page = first_page + pages;
  // Its end, rounded up to the alignment, is the page's end: what reads beyond it faults.
  char* const start = end_page - whole;
  const Allocation& made = device.emplace(start, Allocation{bytes, first_page, end_page}).first->second;
  protect(made, PROT_READ | PROT_WRITE);
  // Fewer entries of the page table to change whenever all memory is protected: a third of the processor time.
  madvise(first_page, pages, MADV_HUGEPAGE);
  std::memset(first_page, kMark, static_cast<size_t>(start - first_page));
  if (!sparse_blocks() || bytes < kSparseFrom) fill_poison(start, bytes);
  std::memset(start + bytes, kMark, whole - bytes);
  if (accesses == 0) protect(made, PROT_NONE);
  allocated += whole;
  *pointer = start;
  return cudaSuccess;
}

cudaError_t cudaFree(void* pointer) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  if (!pointer) return cudaSuccess;
  const auto found = device.find(static_cast<char*>(pointer));
  if (found == device.end() || found->second.freed) return answer(cudaErrorInvalidValue);
  cudaDeviceSynchronize();  // the real one waits, too
  {
    const DeviceAccess access;
    expect_guards_intact();
  }
  Allocation& allocation = found->second;
  allocation.freed = true;
  allocated -= up(allocation.bytes, kAlignment);
  madvise(allocation.first_page, static_cast<size_t>(allocation.end_page - allocation.first_page), MADV_DONTNEED);
  protect(allocation, PROT_NONE);
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  const Entry entry;
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  *free = capacity - std::min(capacity, allocated);
  *total = capacity;
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
  const Entry entry;
  catch_faults();
  if (const cudaError_t state = device_state(); state != cudaSuccess) return answer(state);
  if (capturing()) return answer(refuse_in_capture());
  auto* const memory = static_cast<char*>(::operator new (std::max<size_t>(bytes, 1), std::align_val_t{kPage}));
  fill_poison(memory, bytes);
  pinned.emplace(memory, bytes);
  *pointer = memory;
  return cudaSuccess;
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) { return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault); }

cudaError_t cudaFreeHost(void* pointer) {
  const Entry entry;
  if (!pointer) return cudaSuccess;
  const auto found = pinned.find(static_cast<char*>(pointer));
  if (found == pinned.end()) return answer(cudaErrorInvalidValue);
  cudaDeviceSynchronize();
  ::operator delete (pointer, std::align_val_t{kPage});
  pinned.erase(found);
  return cudaSuccess;
}
