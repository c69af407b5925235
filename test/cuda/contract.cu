// What the emulated device computes: kernels that use each of its parts, against loops on the host.
#include <bit>
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

std::string differs(const std::vector<float>& got, const std::vector<float>& expected) {
  for (size_t i = 0; i < expected.size(); ++i)
    if (got[i] != expected[i])
      return "value " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
             std::to_string(expected[i]);
  return "";
}

// Sums 256 values by shuffles within a warp and shared memory between warps.
__global__ void __launch_bounds__(256) block_sum(float* y, const float* x) {
  __shared__ float part[8];
  float sum = x[blockIdx.x * 256 + threadIdx.x];
  for (int other = 16; other > 0; other /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    float total = 0;
    for (const float p : part) total += p;
    y[blockIdx.x] = total;
  }
}

void sums() {
  std::vector<float> x(5 * 256), expected(5);
  for (size_t i = 0; i < x.size(); ++i) expected[i / 256] += x[i] = static_cast<float>(i % 37);
  std::vector<float> got;
  const std::string problem = same_bits([&] {
    const Stream stream;
    const Device<float> input(x), output(5);
    launch(block_sum, 5, 256, 0, stream, output.data(), input.data());
    stream.wait();
    return got = output.values();
  });
  holds("a sum over shuffles, shared memory and a barrier", problem.empty() ? differs(got, expected) : problem);
}

__global__ void lanes(int* y) {
  const int lane = static_cast<int>(threadIdx.x);
  y[lane] = __shfl_sync(0xffffffffu, lane, 5, 8);
  y[32 + lane] = __shfl_up_sync(0xffffffffu, lane, 2, 16);
  y[64 + lane] = __shfl_down_sync(0xffffffffu, lane, 3);
  y[96 + lane] = static_cast<int>(__ballot_sync(0xffffffffu, lane % 3 == 0));
  y[128 + lane] = __reduce_max_sync(0xffffffffu, lane * lane % 23);
  y[160 + lane] = lane < 7 ? __any_sync(0x7fu, lane == 6) : __all_sync(~0x7fu, lane > 6);
  y[192 + lane] = __syncthreads_count(lane % 2) + 100 * __syncthreads_and(1) + 1000 * __syncthreads_or(lane == 9);
}

void warps() {
  const Stream stream;
  const Device<int> output(224);
  launch(lanes, 1, 32, 0, stream, output.data());
  stream.wait();
  const std::vector<int> got = output.values();
  std::string problem;
  for (int lane = 0; lane < 32; ++lane) {
    const int expected[] = {lane / 8 * 8 + 5,
                            lane % 16 >= 2 ? lane - 2 : lane,
                            lane + 3 < 32 ? lane + 3 : lane,
                            static_cast<int>(0x49249249u),
                            18,
                            1,
                            1116};
    for (int i = 0; i < 7; ++i)
      if (got[static_cast<size_t>(32 * i + lane)] != expected[i])
        problem = "result " + std::to_string(i) + " of lane " + std::to_string(lane) + " is " +
                  std::to_string(got[static_cast<size_t>(32 * i + lane)]);
  }
  holds("shuffles, votes and counting barriers", problem);
}

// D (16, 8) = A (16, 16) B (16, 8), A and the transpose of B through shared memory, copied asynchronously.
__global__ void product(float* d, const __nv_bfloat16* a, const __nv_bfloat16* b) {
  auto* const tile_a = dynamic_shared<__nv_bfloat16>();
  auto* const tile_b = tile_a + 16 * 16;
  const int lane = static_cast<int>(threadIdx.x);
  copy_async_16(tile_a + lane * 8, a + lane * 8, 16);
  copy_async_commit();
  if (lane < 16) copy_async_16(tile_b + lane * 8, b + lane * 8, 16);
  copy_async_commit();
  copy_async_wait<0>();
  __syncwarp();
  uint32_t fragment_a[4], fragment_b[4];
  ldmatrix_x4(fragment_a, tile_a + lane % 16 * 16 + lane / 16 * 8);
  ldmatrix_x4_trans(fragment_b, tile_b + lane % 16 * 8);
  float sum[4] = {1, 2, 3, 4};
  mma_m16n8k16(sum, fragment_a, {fragment_b[0], fragment_b[1]});
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

void tensor_cores() {
  std::vector<__nv_bfloat16> a(16 * 16), b(16 * 8);
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<float>(static_cast<int>(i * 7 % 13) - 6);
  for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(static_cast<int>(i * 5 % 11) - 5);
  std::vector<float> expected(16 * 8), got;
  for (size_t row = 0; row < 16; ++row)
    for (size_t column = 0; column < 8; ++column) {
      float& sum = expected[row * 8 + column];
      sum = static_cast<float>(1 + column % 2 + row / 8 * 2);
      for (size_t k = 0; k < 16; ++k)
        sum += static_cast<float>(a[row * 16 + k]) * static_cast<float>(b[k * 8 + column]);
    }
  const std::string problem = same_bits([&] {
    const Stream stream;
    const Device<__nv_bfloat16> device_a(a), device_b(b);
    const Device<float> output(16 * 8);
    launch(product, 1, 32, (16 * 16 + 16 * 8) * 2, stream, output.data(), device_a.data(), device_b.data());
    stream.wait();
    return got = output.values();
  });
  holds("mma, ldmatrix and cp.async", problem.empty() ? differs(got, expected) : problem);
}

__global__ void add(float* y, float value) { y[threadIdx.x] += value; }
__global__ void multiply(float* y, float value) { y[threadIdx.x] *= value; }
__global__ void count_up(unsigned* counter) { atomicAdd(counter, 1u); }

void streams() {
  const auto run = [](bool ordered) {
    const Stream one, two;
    const Event added;
    const Device<float> value(std::vector<float>{1});
    launch(add, 1, 1, 0, one, value.data(), 2.0f);
    expect(cudaEventRecord(added, one));
    if (ordered) expect(cudaStreamWaitEvent(two, added));
    launch(multiply, 1, 1, 0, two, value.data(), 10.0f);
    expect(cudaDeviceSynchronize());
    return value.values();
  };
  const std::string ordered = same_bits([&] { return run(true); });
  holds("streams follow an event", ordered);
  const std::string unordered = same_bits([&] { return run(false); });
  holds("streams without an event run in any order", unordered.empty() ? "the same bits in each of them" : "");
}

void graphs() {
  std::vector<float> got;
  const std::string problem = same_bits([&] {
    const Stream one, two;
    const Event fork, join;
    const Device<float> value(std::vector<float>{1}), other(std::vector<float>{1});
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    expect(cudaStreamBeginCapture(one, cudaStreamCaptureModeThreadLocal));
    launch(add, 1, 1, 0, one, value.data(), 2.0f);
    expect(cudaEventRecord(fork, one));
    expect(cudaStreamWaitEvent(two, fork));
    launch(multiply, 1, 1, 0, two, other.data(), 2.0f);
    expect(cudaEventRecord(join, two));
    launch(multiply, 1, 1, 0, one, value.data(), 3.0f);
    expect(cudaStreamWaitEvent(one, join));
    expect(cudaStreamEndCapture(one, &graph));
    expect(cudaGraphInstantiate(&exec, graph));
    expect(cudaGraphDestroy(graph));
    for (int i = 0; i < 2; ++i) expect(cudaGraphLaunch(exec, two));
    expect(cudaStreamSynchronize(two));
    expect(cudaGraphExecDestroy(exec));
    return got = {value.values()[0], other.values()[0]};
  });
  holds("a captured graph runs twice", problem.empty() ? differs(got, {33, 4}) : problem);
}

void captures() {
  const Stream one, two;
  const Event event;
  const auto refused = [&](const char* name, cudaError_t expected, auto call) {
    cudaGraph_t graph;
    expect(cudaStreamBeginCapture(one, cudaStreamCaptureModeThreadLocal));
    const cudaError_t answered = call();
    const cudaError_t ended = cudaStreamEndCapture(one, &graph);
    const bool right = (answered == expected && ended == cudaErrorStreamCaptureInvalidated) ||
                       (answered == cudaSuccess && ended == expected);
    holds(name, right ? "" : std::string(cudaGetErrorName(answered)) + ", then " + cudaGetErrorName(ended));
  };
  void* memory;
  refused("a capture refuses an allocation", cudaErrorStreamCaptureUnsupported, [&] { return cudaMalloc(&memory, 4); });
  refused("a capture refuses pinned memory", cudaErrorStreamCaptureUnsupported,
          [&] { return cudaMallocHost(&memory, 4); });
  refused("a capture refuses a synchronisation", cudaErrorStreamCaptureUnsupported,
          [&] { return cudaStreamSynchronize(two); });
  refused("a capture refuses to wait for the device", cudaErrorStreamCaptureUnsupported,
          [] { return cudaDeviceSynchronize(); });
  refused("a capture refuses a stream that does not come back", cudaErrorStreamCaptureUnjoined, [&] {
    expect(cudaEventRecord(event, one));
    return cudaStreamWaitEvent(two, event);
  });
}

void errors() {
  emulated_cuda::set_memory(1 << 20);
  void* memory = nullptr;
  const cudaError_t full = cudaMalloc(&memory, (1 << 20) + 1);
  holds("memory ends", full == cudaErrorMemoryAllocation && !memory ? "" : cudaGetErrorName(full));
  emulated_cuda::set_memory(size_t{8} << 30);
  cudaGetLastError();
  emulated_cuda::break_device(cudaErrorECCUncorrectable);
  const cudaError_t broken = cudaMalloc(&memory, 4);
  emulated_cuda::break_device(cudaSuccess);
  holds("a broken device answers so", broken == cudaErrorECCUncorrectable ? "" : cudaGetErrorName(broken));
  emulated_cuda::set_driver(0, 0);
  int devices;
  const cudaError_t missing = cudaGetDeviceCount(&devices);
  emulated_cuda::set_driver(1, 13000);
  holds("a missing driver answers so", missing == cudaErrorInsufficientDriver ? "" : cudaGetErrorName(missing));
  cudaGetLastError();
}

void sparse() {
  const Stream stream;
  const Device<unsigned> counter(std::vector<unsigned>{0});
  emulated_cuda::set_sparse(3);
  launch(count_up, dim3(100000, 50000), 32, 0, stream, counter.data());
  stream.wait();
  emulated_cuda::set_sparse(0);
  holds("a sparse launch runs the first, the last and three blocks between",
        counter.values()[0] == 5 * 32 ? "" : "another number");
}

}  // namespace

void contract_cases() {
  sums();
  warps();
  tensor_cores();
  streams();
  graphs();
  captures();
  errors();
  sparse();
}

}  // namespace humanizer::cuda
