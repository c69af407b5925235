// One block of threads on one OS thread: a fiber each, run in a seeded order from meeting to meeting.
#pragma once

#include <cstddef>
#include <cstdint>

namespace emulated_cuda {

// A call of a kernel's code, for comparing and for telling.
struct Site {
  const char* function;
  const char* file;
  int line;
};

// Runs entry(argument) in every thread of the block that blockIdx and blockDim name. Fails when threads wait for one
// another in vain.
void run_block(void (*entry)(void*), void* argument);

// Waits for all threads of the block that have not ended; returns the sum of their values. They must stand at one site.
int block_barrier(Site site, int value);

// Waits for the lanes of `mask`, all of which must call with the same mask at the same site; the last to come runs
// complete(lanes, mask) on the arguments of all of them, before any goes on.
void warp_meeting(uint32_t mask, Site site, void* argument, void (*complete)(void* const* lanes, uint32_t mask));

int lane();

// Dynamic shared memory of the block that runs, 16 bytes aligned, and its size.
void* dynamic_shared_memory();

// Fails unless [address, address + bytes) lies in the running block's shared memory.
void expect_shared(const void* address, size_t bytes, const char* instruction);

// Fails unless `address` is a multiple of `bytes`.
void expect_aligned(const void* address, size_t bytes, const char* instruction);

// cp.async of the running thread: it lands at the wait that names its group, no sooner. Until then the target is
// poison.
void copy_async(void* shared, const void* global, int copied, int bytes);
void copy_async_commit();
void copy_async_wait(int pending);

}  // namespace emulated_cuda
