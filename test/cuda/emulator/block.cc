#include "block.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../emulated/device_types.h"
#include "device.h"
#include "failure.h"
#include "memory.h"
#include "random.h"
#include "running.h"
#include "symbol.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

// Saves what a function must keep (System V ABI), and goes on where `load` was saved. The instruction set's control
// words are the same in all fibers.
extern "C" void emulated_cuda_switch(void** save, void* load);
asm(R"(
.text
.type emulated_cuda_switch, @function
emulated_cuda_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emulated_cuda_switch, . - emulated_cuda_switch
)");

namespace emulated_cuda {
namespace {

constexpr size_t kStack = 96 * 1024, kGuard = 4096;
constexpr uint32_t kMaxThreads = 1024;

enum class State : uint8_t { kFresh, kRunnable, kAtBarrier, kAtMeeting, kEnded };

struct Copy {
  char* shared;
  const char* global;
  int copied, bytes;
  uint32_t group;
};

struct Thread {
  State state;
  uint16_t stack;
  void* saved;
  uint3 index;
  Site site;
  uint32_t mask;
  void* argument;
  void (*complete)(void* const*, uint32_t);
  uint32_t copy_groups;  // committed so far
  std::vector<Copy> copies;
};

// Of a warp, a bit each: lanes that the block has, that have ended, that wait for others of their mask.
struct Lanes {
  uint32_t there, ended, meeting;
};

Thread threads[kMaxThreads];
Lanes warps[kMaxThreads / 32];
uint32_t count, current, ended, waiting, barrier_sum, barrier_result;
uint32_t runnable[kMaxThreads], runnable_count;
uint16_t free_stacks[kMaxThreads];
uint32_t free_stack_count, stack_count;
void* scheduler;
void (*block_entry)(void*);
void* block_argument;
const void* kernel;
bool inside;

char* stack_top(uint16_t stack) {
  static char* const stacks = [] {
    void* memory =
        mmap(nullptr, kMaxThreads * (kStack + kGuard), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fail("no address space for the threads' stacks");
    return static_cast<char*>(memory);
  }();
  char* const low = stacks + stack * (kStack + kGuard) + kGuard;
  if (stack >= stack_count) {
    if (mprotect(low, kStack, PROT_READ | PROT_WRITE) != 0) fail("no memory for the threads' stacks");
    stack_count = stack + 1u;
  }
  return low + kStack - stack % 32 * 192;  // else all stacks' tops fall into the same sets of the cache
}

uint32_t take_next() {
  uint32_t at = runnable_count - 1;
  switch (order.turns) {
    case Turns::Forward:
    case Turns::Backward:
      break;  // sorted when they became runnable: the last is next
    case Turns::Eager:
      break;  // those who became runnable last go on first
    case Turns::Mixed:
      at = order.random.below(runnable_count);
  }
  const uint32_t next = runnable[at];
  runnable[at] = runnable[--runnable_count];
  return next;
}

[[noreturn]] void thread_main();

// Makes this thread the running one; returns what to load.
void* resume(uint32_t next) {
  current = next;
  Thread& thread = threads[next];
  threadIdx = thread.index;
  if (thread.state != State::kFresh) return thread.saved;
  thread.state = State::kRunnable;
  thread.stack = free_stacks[--free_stack_count];
  auto** top = reinterpret_cast<void**>(stack_top(thread.stack));
  *--top = nullptr;  // no return address: the stack is aligned as after a call
  *--top = reinterpret_cast<void*>(thread_main);
  return top - 6;  // the six registers that the switch pops
}

// Leaves the running thread, whose state says why, for the next that can go on; back to run_block when none can.
void leave() {
  const uint32_t left = current;
  void* load = scheduler;
  if (runnable_count > 0) {
    load = resume(take_next());
    if (current == left) return;
  }
  emulated_cuda_switch(&threads[left].saved, load);
}

void land(Thread& thread, uint32_t group) {
  size_t kept = 0;
  for (Copy& copy : thread.copies) {
    if (copy.group >= group) {
      thread.copies[kept++] = copy;
      continue;
    }
    std::memcpy(copy.shared, copy.global, static_cast<size_t>(copy.copied));
    std::memset(copy.shared + copy.copied, 0, static_cast<size_t>(copy.bytes - copy.copied));
  }
  thread.copies.resize(kept);
}

void make_runnable(uint32_t first, uint32_t end) {
  const uint32_t from = runnable_count;
  for (uint32_t i = first; i < end; ++i)
    if (threads[i].state == State::kRunnable || threads[i].state == State::kFresh) runnable[runnable_count++] = i;
  if (order.turns == Turns::Forward) std::reverse(runnable + from, runnable + runnable_count);
  if (order.turns == Turns::Eager) order.random.shuffle(runnable + from, runnable_count - from);
}

// Lets go on whoever waits at the block's barrier, once all that have not ended are there.
void open_barrier() {
  if (waiting == 0 || waiting + ended < count) return;
  const Thread* first = nullptr;
  for (uint32_t i = 0; i < count; ++i) {
    Thread& thread = threads[i];
    if (thread.state != State::kAtBarrier) continue;
    if (!first) first = &thread;
    if (thread.site.line != first->site.line || std::strcmp(thread.site.file, first->site.file) != 0) {
      fail("threads of a block wait at two barriers: thread %u at %s:%d, thread %u at %s:%d", first->index.x,
           first->site.file, first->site.line, thread.index.x, thread.site.file, thread.site.line);
    }
    thread.state = State::kRunnable;
  }
  waiting = 0;
  barrier_result = barrier_sum;
  barrier_sum = 0;
  make_runnable(0, count);
}

void thread_main() {
  block_entry(block_argument);
  Thread& thread = threads[current];
  if (!thread.copies.empty()) fail("a thread ended with copies to shared memory that it did not wait for");
  thread.state = State::kEnded;
  ++ended;
  warps[current / 32].ended |= 1u << (current & 31u);
  free_stacks[free_stack_count++] = thread.stack;
  open_barrier();
  leave();
  __builtin_unreachable();
}

[[noreturn]] void fail_stuck() {
  for (uint32_t i = 0; i < count; ++i) {
    const Thread& thread = threads[i];
    if (thread.state != State::kAtMeeting) continue;
    for (uint32_t lane = 0; lane < 32; ++lane) {
      if (!(thread.mask >> lane & 1u)) continue;
      const uint32_t other = (i & ~31u) + lane;
      if (other < count && threads[other].state == State::kAtMeeting && threads[other].mask == thread.mask) continue;
      current = i;
      fail("lane %u of mask %08x never comes to %s at %s:%d: it %s", lane, thread.mask, thread.site.function,
           thread.site.file, thread.site.line,
           other >= count                              ? "does not exist"
           : threads[other].state == State::kEnded     ? "has ended"
           : threads[other].state == State::kAtMeeting ? "waits with another mask"
                                                       : "waits at a barrier of the block");
    }
  }
  fail("the threads of a block wait for one another");
}

}  // namespace

std::string where() {
  if (!kernel) return "";
  char text[160];
  std::snprintf(text, sizeof text, ", block %u,%u,%u, thread %u,%u,%u)", blockIdx.x, blockIdx.y, blockIdx.z,
                threadIdx.x, threadIdx.y, threadIdx.z);
  return " (" + demangled(symbol_of(kernel).name) + (inside ? text : ")");
}

void set_running_kernel(const void* running) { kernel = running; }

void run_block(void (*entry)(void*), void* argument) {
  block_entry = entry;
  block_argument = argument;
  count = blockDim.x * blockDim.y * blockDim.z;
  ended = waiting = barrier_sum = 0;
  runnable_count = 0;
  free_stack_count = 0;
  for (uint32_t i = kMaxThreads; i-- > 0;) free_stacks[free_stack_count++] = static_cast<uint16_t>(i);
  for (uint32_t i = 0; i < count; i += 32) {
    warps[i / 32] = {count - i < 32 ? (1u << (count - i)) - 1 : ~0u, 0, 0};
  }
  for (uint32_t i = 0; i < count; ++i) {
    Thread& thread = threads[i];
    thread.state = State::kFresh;
    thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / (blockDim.x * blockDim.y)};
    thread.copy_groups = 0;
    thread.copies.clear();
  }
  make_runnable(0, count);
  inside = true;
  emulated_cuda_switch(&scheduler, resume(take_next()));
  if (ended < count) fail_stuck();
  inside = false;
}

int block_barrier(Site site, int value) {
  Thread& thread = threads[current];
  thread.state = State::kAtBarrier;
  thread.site = site;
  ++waiting;
  barrier_sum += static_cast<uint32_t>(value);
  open_barrier();
  leave();
  return static_cast<int>(barrier_result);
}

int lane() { return static_cast<int>(current % 32); }

void warp_meeting(uint32_t mask, Site site, void* argument, void (*complete)(void* const*, uint32_t)) {
  Thread& thread = threads[current];
  const uint32_t warp = current & ~31u;
  Lanes& lanes = warps[current / 32];
  if (!(mask >> (current & 31u) & 1u))
    fail("%s at %s:%d by lane %u, which is not in its mask %08x", site.function, site.file, site.line, current & 31u,
         mask);
  thread.state = State::kAtMeeting;
  thread.site = site;
  thread.mask = mask;
  thread.argument = argument;
  thread.complete = complete;
  if (const uint32_t absent = mask & ~lanes.there)
    fail("mask %08x of %s at %s:%d names lane %d, which the block does not have", mask, site.function, site.file,
         site.line, __builtin_ctz(absent));
  if (const uint32_t gone = mask & lanes.ended)
    fail("lane %d of mask %08x never comes to %s at %s:%d: it has ended", __builtin_ctz(gone), mask, site.function,
         site.file, site.line);
  // Of those that wait one is looked at now, and all of them when the last has come.
  uint32_t compared = mask & lanes.meeting;
  lanes.meeting |= 1u << (current & 31u);
  const bool all = (mask & lanes.meeting) == mask;
  if (!all) compared &= -compared;
  for (; compared; compared &= compared - 1) {
    const auto other_lane = static_cast<uint32_t>(__builtin_ctz(compared));
    const Thread& other = threads[warp + other_lane];
    if (other.mask != mask || other.complete != complete || other.site.line != site.line)
      fail(
          "lanes %u and %u of one mask are at different instructions: %s at %s:%d with mask %08x, %s at %s:%d with "
          "mask %08x",
          current & 31u, other_lane, site.function, site.file, site.line, mask, other.site.function, other.site.file,
          other.site.line, other.mask);
  }
  if (all) {
    lanes.meeting &= ~mask;
    if (complete) {
      void* arguments[32] = {};
      for (uint32_t rest = mask; rest; rest &= rest - 1) {
        const auto other_lane = static_cast<uint32_t>(__builtin_ctz(rest));
        arguments[other_lane] = threads[warp + other_lane].argument;
      }
      complete(arguments, mask);
    }
    const uint32_t from = runnable_count;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
      const uint32_t other = warp + static_cast<uint32_t>(__builtin_ctz(rest));
      threads[other].state = State::kRunnable;
      runnable[runnable_count++] = other;
    }
    if (order.turns == Turns::Forward) std::reverse(runnable + from, runnable + runnable_count);
    if (order.turns == Turns::Eager) order.random.shuffle(runnable + from, runnable_count - from);
  }
  leave();
}

void copy_async(void* shared, const void* global, int copied, int bytes) {
  expect_shared(shared, static_cast<size_t>(bytes), "cp.async");
  expect_aligned(shared, static_cast<size_t>(bytes), "cp.async");
  expect_aligned(global, static_cast<size_t>(bytes), "cp.async");
  if (copied > 0) expect_device(global, static_cast<size_t>(copied), "cp.async");
  fill_poison(static_cast<char*>(shared), static_cast<size_t>(bytes));
  Thread& thread = threads[current];
  thread.copies.push_back(
      {static_cast<char*>(shared), static_cast<const char*>(global), copied, bytes, thread.copy_groups});
}

void copy_async_commit() { ++threads[current].copy_groups; }

void copy_async_wait(int pending) {
  Thread& thread = threads[current];
  const auto newest = static_cast<uint32_t>(pending);
  if (thread.copy_groups > newest) land(thread, thread.copy_groups - newest);
}

}  // namespace emulated_cuda
