// What a test tells the emulated device. Everything here may change between kernels, while no work is pending.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../emulated/runtime_api.h"

namespace emulated_cuda {

// The order of threads, blocks and streams, and the poison of fresh memory. Seeds 0 to 3 are forward, backward, eager,
// mixed; the rest go round in this way with other draws.
void set_seed(uint64_t seed);

// The compute capability, 10 * major + minor (80 86 89 90 100 120): limits of shared memory.
void set_architecture(int capability);

// 0: every block runs. Else a launch of more blocks runs the first, the last and this many between, and large
// allocations stay unpoisoned, so that they take no memory until they are written: for the true shapes of large models.
void set_sparse(uint32_t blocks);

// The device's memory; cudaMalloc beyond it is cudaErrorMemoryAllocation.
void set_memory(size_t bytes);
size_t allocated_bytes();

// From now on every call answers with this, as after a lost device or an ECC error; cudaSuccess heals.
void break_device(cudaError_t error);

// What cudaGraphInstantiate and cudaGraphLaunch answer; cudaSuccess: as they should.
void refuse_graphs(cudaError_t instantiation, cudaError_t launch = cudaSuccess);
// Nodes of the graph that was made executable last.
size_t graph_operations();

// How many devices there are and which CUDA the driver speaks (13000); a driver of 0 is none at all.
void set_driver(int devices, int version);
// That the device is said to have, whatever set_architecture says; 0: what that says.
void claim_capability(int capability);

// What the compiler made of a kernel; in place of kernels.tsv for this one. 0 threads: it states no launch bounds.
struct KernelLimits {
  unsigned threads, registers;
  size_t shared_bytes;
};
void set_limits(const void* kernel, const KernelLimits& limits);

uint64_t kernels_run();

}  // namespace emulated_cuda
