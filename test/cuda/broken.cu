// A deliberately broken kernel or call of each kind: each must be refused, or the check that it is for checks nothing.
#include <launch.cuh>
#include <ptx.cuh>
#include <string>
#include <vector>

#include "buffers.h"
#include "contract.h"
#include "emulator/emulator.h"
#include "same_bits.h"

namespace humanizer::cuda {
namespace {

// ---- what other orders expose -------------------------------------------------------------------------------------

__global__ void missing_barrier(float* y, const float* x) {
  __shared__ float tile[64];
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
__global__ void missing_syncwarp(float* y, const float* x) {
  __shared__ float tile[32];
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x ^ 1];
}
// The second barrier of the loop is missing: a fast warp overwrites what a slow one has yet to read.
__global__ void missing_second_barrier(float* y, const float* x) {
  __shared__ float tile[64];
  float sum = 0;
  for (int round = 0; round < 4; ++round) {
    tile[threadIdx.x] = x[round * 64 + threadIdx.x];
    __syncthreads();
    sum = sum * 3 + tile[63 - threadIdx.x];
  }
  y[threadIdx.x] = sum;
}
__global__ void order_of_atomics(float* y, const float*) {
  __shared__ unsigned next;
  if (threadIdx.x == 0) next = 0;
  __syncthreads();
  y[atomicAdd(&next, 1u)] = static_cast<float>(threadIdx.x);
}
__global__ void order_of_blocks(float* y, const float*) {
  if (threadIdx.x == 0) y[0] = static_cast<float>(blockIdx.x);
  if (blockIdx.x == 0 && threadIdx.x > 0) y[threadIdx.x] = 0;
}
__global__ void uninitialised_shared(float* y, const float* x) {
  __shared__ float tile[64];
  if (x[0] < 0) tile[threadIdx.x] = 0;  // never
  y[threadIdx.x] = tile[threadIdx.x];
}
__global__ void uninitialised_dynamic(float* y, const float*) { y[threadIdx.x] = dynamic_shared<float>()[threadIdx.x]; }
__global__ void writes_half(float* y, const float* x) {
  if (threadIdx.x < 32) y[threadIdx.x] = x[threadIdx.x];
}
// Reads what cp.async brings before waiting for it.
__global__ void missing_wait(float* y, const float* x) {
  __shared__ __align__(16) float tile[64];
  if (threadIdx.x < 16) copy_async_16(tile + 4 * threadIdx.x, x + 4 * threadIdx.x, 16);
  copy_async_commit();
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
  copy_async_wait<0>();
}
// Waits for one group too few: the newest may still be on its way.
__global__ void wait_for_too_few(float* y, const float* x) {
  __shared__ __align__(16) float tile[64];
  for (int half = 0; half < 2; ++half) {
    if (threadIdx.x < 8) copy_async_16(tile + 32 * half + 4 * threadIdx.x, x + 32 * half + 4 * threadIdx.x, 16);
    copy_async_commit();
  }
  copy_async_wait<1>();
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x];
  copy_async_wait<0>();
}

using Kernel = void (*)(float*, const float*);

void other_orders_expose(const char* name, Kernel kernel, unsigned threads = 64, unsigned blocks = 1) {
  std::vector<float> x(256);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i);
  const std::string problem = same_bits([&] {
    const Stream stream;
    const Device<float> input(x), output(64);
    launch(kernel, blocks, threads, 256, stream, output.data(), input.data());
    stream.wait();
    std::vector<float> values = output.values();
    if (threads < 64) values.resize(threads);
    return values;
  });
  holds(name, problem.empty() ? "eight orders gave the same bits" : "");
}

// Whichever order hides it, another does not.
void orders() {
  other_orders_expose("a missing barrier is exposed", missing_barrier);
  other_orders_expose("a missing __syncwarp is exposed", missing_syncwarp, 32);
  other_orders_expose("a missing barrier at the end of a loop is exposed", missing_second_barrier);
  other_orders_expose("a result in the order of atomics is exposed", order_of_atomics);
  other_orders_expose("a result of whichever block comes last is exposed", order_of_blocks, 64, 4);
  other_orders_expose("shared memory that nobody wrote is exposed", uninitialised_shared);
  other_orders_expose("dynamic shared memory that nobody wrote is exposed", uninitialised_dynamic);
  other_orders_expose("output that nobody wrote is exposed", writes_half);
  other_orders_expose("a read before cp.async has landed is exposed", missing_wait);
  other_orders_expose("a wait for one group of cp.async too few is exposed", wait_for_too_few);
}

// ---- what a kernel may not do -------------------------------------------------------------------------------------

void run(Kernel kernel, dim3 grid = 1, dim3 block = 64, size_t shared = 0, size_t output_values = 64) {
  const Stream stream;
  const Device<float> input(std::vector<float>(64, 1.0f)), output(output_values);
  launch(kernel, grid, block, shared, stream, output.data(), input.data());
  stream.wait();
}

__global__ void nothing(float*, const float*) {}
__global__ void writes_behind(float* y, const float*) { y[threadIdx.x + 1] = 0; }
__global__ void writes_far_behind(float* y, const float*) { y[threadIdx.x + 5000] = 0; }
__global__ void writes_before(float* y, const float*) { (y - 1)[threadIdx.x] = 0; }
__global__ void reads_behind(float* y, const float* x) { y[threadIdx.x] = x[threadIdx.x + 64]; }
__global__ void writes_behind_shared(float* y, const float*) {
  dynamic_shared<float>()[threadIdx.x + 1] = 0;
  y[threadIdx.x] = 0;
}
__global__ void beyond_an_array(float* y, const float* x) {
  __shared__ float tile[60];
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x];
}
__global__ void misaligned_vector(float* y, const float* x) {
  const float4 four = *reinterpret_cast<const float4*>(x + 1);
  y[threadIdx.x] = four.x;
}
__global__ void overflow(float* y, const float*) {
  const int rows = static_cast<int>(gridDim.x) * 65536, at = static_cast<int>(blockIdx.x + 1) * rows;
  y[threadIdx.x] = static_cast<float>(at);
}
__global__ void divergent_barrier(float* y, const float*) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 0;
}
__global__ void divergent_shuffle(float* y, const float* x) {
  if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, x[threadIdx.x], 1);
}
__global__ void outside_of_mask(float* y, const float* x) {
  y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 1);
}
__global__ void masks_that_differ(float* y, const float* x) {
  const unsigned mask = threadIdx.x % 2 ? 0xffffffffu : 0x7fffffffu;
  y[threadIdx.x] = __shfl_xor_sync(mask, x[threadIdx.x], 1);
}
__global__ void barrier_against_shuffle(float* y, const float* x) {
  float value = x[threadIdx.x];
  if (threadIdx.x == 7) {
    __syncthreads();
  } else {
    value = __shfl_xor_sync(0xffffffffu, value, 1);
    __syncthreads();
  }
  y[threadIdx.x] = value;
}
__global__ void ldmatrix_of_global(float* y, const float* x) {
  uint32_t fragment[4];
  ldmatrix_x4(fragment, x);
  y[threadIdx.x] = static_cast<float>(fragment[0]);
}
__global__ void ldmatrix_misaligned(float* y, const float*) {
  __shared__ __align__(16) __nv_bfloat16 tile[32 * 9];
  tile[threadIdx.x * 9] = 0.0f;
  __syncwarp();
  uint32_t fragment[4];
  ldmatrix_x4(fragment, tile + threadIdx.x * 9);
  y[threadIdx.x] = static_cast<float>(fragment[0]);
}
__global__ void copy_async_misaligned(float* y, const float* x) {
  copy_async_16(dynamic_shared<float>(), x + 1, 16);
  copy_async_commit();
  copy_async_wait<0>();
  y[threadIdx.x] = 0;
}
__global__ void copy_async_out_of_bounds(float* y, const float* x) {
  copy_async_16(dynamic_shared<float>(), x + 64, 16);
  copy_async_commit();
  copy_async_wait<0>();
  y[threadIdx.x] = 0;
}
__global__ void unwaited_copy(float*, const float* x) {
  copy_async_16(dynamic_shared<float>(), x, 16);
  copy_async_commit();
}

void kernels() {
  refuses("a write right behind an allocation", "wrote behind an allocation", [] { run(writes_behind, 1, 60, 0, 60); });
  refuses("a write right behind an aligned allocation", "out of bounds", [] { run(writes_behind); });
  refuses("a write far behind an allocation", "cuda: access", [] { run(writes_far_behind); });
  refuses("a write before an allocation", "wrote before an allocation", [] { run(writes_before); });
  refuses("a read behind an allocation", "of an allocation of 256", [] { run(reads_behind); });
  refuses("a write behind dynamic shared memory", "no memory", [] { run(writes_behind_shared, 1, 64, 256); });
  refuses("dynamic shared memory that was not asked for", "without any", [] { run(writes_behind_shared); });
  refuses("an index beyond a shared array", "out of bounds for type", [] { run(beyond_an_array); });
  refuses("a vector load that is not aligned", "misaligned address", [] { run(misaligned_vector); });
  refuses("an int that overflows", "signed integer overflow", [] { run(overflow, 40000); });
  refuses("threads at two barriers", "wait at two barriers", [] { run(divergent_barrier); });
  refuses("a shuffle that half of its lanes skip", "never comes", [] { run(divergent_shuffle); });
  refuses("a lane outside of its mask", "not in its mask", [] { run(outside_of_mask); });
  refuses("masks that differ", "different instructions", [] { run(masks_that_differ, 1, 32); });
  refuses("a barrier against a shuffle", "waits at a barrier", [] { run(barrier_against_shuffle, 1, 32); });
  refuses("a mask that names lanes which do not exist", "does not have", [] { run(divergent_shuffle, 1, 16); });
  refuses("ldmatrix of global memory", "outside of shared memory", [] { run(ldmatrix_of_global, 1, 32); });
  refuses("ldmatrix of a row that is not aligned", "not aligned to 16", [] { run(ldmatrix_misaligned, 1, 32); });
  refuses("cp.async from an address that is not aligned", "not aligned to 16",
          [] { run(copy_async_misaligned, 1, 1, 16); });
  refuses("cp.async from behind an allocation", "of a device allocation of 256",
          [] { run(copy_async_out_of_bounds, 1, 1, 16); });
  refuses("a thread that ends before its copies", "did not wait for", [] { run(unwaited_copy, 1, 1, 16); });
}

// ---- what a launch may not ask ------------------------------------------------------------------------------------

void launches() {
  refuses("more than 1024 threads", "1024", [] { run(nothing, 1, dim3(64, 17)); });
  refuses("more than 64 threads in z", "64 of them in z", [] { run(nothing, 1, dim3(1, 1, 65)); });
  refuses("more than 65535 blocks in y", "65535", [] { run(nothing, dim3(1, 65536)); });
  refuses("more shared memory than the architecture has", "8.6 has 101376", [] {
    emulated_cuda::set_architecture(86);
    run(nothing, 1, 64, 99 * 1024 + 1);
  });
  const auto limited = [](unsigned threads, unsigned registers, size_t shared) {
    emulated_cuda::set_limits(reinterpret_cast<const void*>(nothing), {threads, registers, shared});
  };
  limited(32, 16, 0);
  refuses("more threads than __launch_bounds__", "no more than 32", [] { run(nothing); });
  limited(0, 168, 0);
  refuses("more registers than a multiprocessor has", "416 threads of 168", [] { run(nothing, 1, 416); });
  limited(0, 16, 40000);
  refuses("static and dynamic shared memory", "static and dynamic", [] { run(nothing, 1, 64, 99 * 1024 - 39999); });
  limited(0, 16, 0);
  refuses("an argument on the host", "host's memory", [] {
    const Stream stream;
    float on_stack = 0;
    launch(nothing, 1, 1, 0, stream, &on_stack, static_cast<const float*>(nullptr));
  });
  refuses("an argument that was freed", "freed memory", [] {
    const Stream stream;
    float* memory = Device<float>(64).data();
    launch(nothing, 1, 1, 0, stream, memory, static_cast<const float*>(nullptr));
  });
  refuses("the legacy default stream", "name a stream", [] { launch(nothing, 1, 1, 0, nullptr, nullptr, nullptr); });
}

// ---- what the host may not do -------------------------------------------------------------------------------------

void host() {
  refuses("the host reads device memory", "the host touched device memory, at byte 12 of 256", [] {
    const Device<float> memory(64);
    if (memory.data()[3] == 0) std::abort();
  });
  refuses("the host reads device memory that was freed", "freed device memory", [] {
    const float* memory = Device<float>(64).data();
    if (*memory == 0) std::abort();
  });
  refuses("the host writes into a copy's source", "had yet to read", [] {
    const Stream stream;
    const Pinned<float> source(64, 1);
    const Device<float> target(64);
    expect(cudaMemcpyAsync(target.data(), source.data(), 256, cudaMemcpyHostToDevice, stream));
    source[0] = 2;
    stream.wait();
  });
  refuses("an asynchronous copy of memory that is not pinned", "not pinned", [] {
    const Stream stream;
    const std::vector<float> source(64);
    const Device<float> target(64);
    expect(cudaMemcpyAsync(target.data(), source.data(), 256, cudaMemcpyHostToDevice, stream));
  });
  refuses("a copy beyond its source", "of a device allocation of 256", [] {
    const Device<float> source(64);
    std::vector<float> target(65);
    cudaMemcpy(target.data(), source.data(), 260, cudaMemcpyDeviceToHost);
  });
  refuses("a copy in the wrong direction", "is no device memory", [] {
    const Device<float> one(64);
    std::vector<float> two(64);
    cudaMemcpy(one.data(), two.data(), 256, cudaMemcpyDeviceToHost);
  });
  {
    const Stream stream;
    const Device<float> source(std::vector<float>(64, 5.0f));
    const Pinned<float> target(64, 7);
    expect(cudaMemcpyAsync(target.data(), source.data(), 256, cudaMemcpyDeviceToHost, stream));
    const float early = target[0];
    stream.wait();
    holds("a copy's target is poison until it has come", early != 5 && early != 7 && target[0] == 5 ? "" : "it is not");
  }
}

}  // namespace

void broken_cases() {
  orders();
  kernels();
  launches();
  host();
}

}  // namespace humanizer::cuda
