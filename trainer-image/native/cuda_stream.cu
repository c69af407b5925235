#include <algorithm>
#include <cstring>
#include <utility>

#include "cuda.h"
#include "cuda_error.h"
#include "cuda_stream.cuh"
#include "device_ops.cuh"

namespace humanizer::cuda {

namespace {

constexpr size_t kStaging = size_t{16} << 20, kHalf = kStaging / 2;  // pinned bytes of a thread
// Of the device's memory that a kept graph takes for each operation, at most: seen with driver 470 (ADR 16).
constexpr size_t kNodeBytes = size_t{64} << 10;
constexpr size_t kProductsWorkspace = size_t{32} << 20;  // NVIDIA's advice for Hopper

float* table_of(const float* values, int64_t count) {
  float* table = nullptr;
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  expect(cudaMalloc(&table, bytes), "cudaMalloc");
  expect(cudaMemcpy(table, values, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  return table;
}

void record(cudaEvent_t event, cudaStream_t stream) { expect(cudaEventRecord(event, stream), "cudaEventRecord"); }
void wait_for(cudaEvent_t event) { expect(cudaEventSynchronize(event), "cudaEventSynchronize"); }
void wait_for(cudaEvent_t event, cudaStream_t stream) {
  expect(cudaStreamWaitEvent(stream, event, 0), "cudaStreamWaitEvent");
}

}  // namespace

const Tables& tables() {
  static const Tables made{table_of(kNf4Code, 16), table_of(kDynamicCode, 256), table_of(kUnsignedDynamicCode, 256)};
  return made;
}

DeviceStream& stream() {
  thread_local DeviceStream of_thread;
  return of_thread;
}

DeviceStream::DeviceStream() {
  for (cudaStream_t* made : {&stream_, &beside_, &copies_}) {
    expect(cudaStreamCreateWithFlags(made, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  for (cudaEvent_t* made : {&opened_, &decoded_[0], &decoded_[1], &read_[0], &read_[1], &half_[0], &half_[1], &asked_,
                            &copied_[0], &copied_[1]}) {
    expect(cudaEventCreateWithFlags(made, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  }
  expect(cudaMallocHost(&staging_, kStaging), "cudaMallocHost");
  expect(cudaMalloc(&small_, kNormParts * sizeof(double)), "cudaMalloc");
  current_ = stream_;
}

DeviceStream::~DeviceStream() {
  for (const cudaStream_t made : {copies_, beside_, stream_}) cudaStreamSynchronize(made);
  cudaFree(small_);
  cudaFreeHost(staging_);
  for (const cudaEvent_t made :
       {opened_, decoded_[0], decoded_[1], read_[0], read_[1], half_[0], half_[1], asked_, copied_[0], copied_[1]})
    cudaEventDestroy(made);
  for (const cudaStream_t made : {copies_, beside_, stream_}) cudaStreamDestroy(made);
}

Products& DeviceStream::products() {
  if (!products_) products_.emplace(kProductsWorkspace);
  return *products_;
}

// ---------------------------------------------------------------------------------------------------------------------
// Steps. A captured one's copies read and write the pinned memory where they did when it was captured: it begins with
// all of that free, and the host puts the bytes of each run there.

bool DeviceStream::begin(std::span<const int64_t> key, size_t upload_bytes) {
  if (turn_ != StepGraphs::Turn::kPlain) abandon();
  turn_ = graphs_.begin(key);
  if (turn_ == StepGraphs::Turn::kPlain) return true;
  if (upload_bytes >= kStaging) {
    turn_ = StepGraphs::Turn::kPlain;
    const std::string reason = "its " + std::to_string(upload_bytes) + " bytes of input exceed the " +
                               std::to_string(kStaging) + " that are pinned";
    graphs_.refuse(reason);
    throw StepNotKept(reason);
  }
  if (staged_ > 0) {
    expect(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    finished();
  }
  if (turn_ == StepGraphs::Turn::kReplay) return false;
  products();  // what a step would allocate
  tables();
  expect(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  return true;
}

void DeviceStream::abandon() {
  current_ = stream_;
  if (turn_ == StepGraphs::Turn::kCapture) {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    staged_ = 0;
    std::ranges::fill(copying_, false);  // none was begun
  }
  turn_ = StepGraphs::Turn::kPlain;
  graphs_.end();
  for (const int slot : {0, 1}) copied(slot);  // before what comes now takes their memory
}

void DeviceStream::wait() {
  const StepGraphs::Turn turn = std::exchange(turn_, StepGraphs::Turn::kPlain);
  if (turn == StepGraphs::Turn::kCapture) return run_captured();
  if (turn == StepGraphs::Turn::kReplay) return launch_graph();
  expect(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  finished();
}

void DeviceStream::run_captured() {
  cudaGraph_t graph = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream_, &graph);
  if (ended != cudaSuccess) {
    staged_ = 0;
    graphs_.end();
    expect(ended, "cudaStreamEndCapture");
  }
  size_t nodes = 0, free = 0, total = 0;
  expect(cudaGraphGetNodes(graph, nullptr, &nodes), "cudaGraphGetNodes");
  expect(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  const bool room = free / 2 >= nodes * kNodeBytes;
  const cudaError_t made = room ? graphs_.instantiate(graph) : cudaSuccess;
  cudaGraphDestroy(graph);
  if (!room) {
    give_up("its " + std::to_string(nodes) + " operations may take " + std::to_string(nodes * kNodeBytes) +
            " bytes of the GPU, of which no more than half of what is free are given: " + std::to_string(free));
  }
  if (made != cudaSuccess) give_up("cudaGraphInstantiate", made);
  launch_graph();
}

// Its first launch brings a graph onto the device, which can be too full for it.
void DeviceStream::launch_graph() {
  const cudaError_t launched = cudaGraphLaunch(graphs_.executable(), stream_);
  if (launched == cudaErrorMemoryAllocation) give_up("cudaGraphLaunch", launched);
  const cudaError_t ran = launched == cudaSuccess ? cudaStreamSynchronize(stream_) : launched;
  graphs_.end();
  expect(ran, "cudaGraphLaunch");
  finished();
}

void DeviceStream::give_up(const char* call, cudaError_t status) {
  cudaGetLastError();
  give_up(std::string(call) + ": " + cudaGetErrorName(status) + ", " + cudaGetErrorString(status));
}

void DeviceStream::give_up(const std::string& reason) {
  staged_ = 0;
  graphs_.refuse(reason);
  throw StepNotKept(reason);
}

void DeviceStream::finished() {
  staged_ = 0;
  ++waits_;
}

// ---------------------------------------------------------------------------------------------------------------------
// The host's bytes

void DeviceStream::upload(void* to, const void* host, size_t bytes) {
  if (bytes > kHalf && turn_ == StepGraphs::Turn::kPlain) {
    return upload_halves(static_cast<char*>(to), static_cast<const char*>(host), bytes);
  }
  for (size_t done = 0; done < bytes;) {
    if (staged_ == kStaging) make_room();
    const size_t part = std::min(bytes - done, kStaging - staged_);
    std::memcpy(staging_ + staged_, static_cast<const char*>(host) + done, part);
    if (turn_ != StepGraphs::Turn::kReplay) {
      expect(cudaMemcpyAsync(static_cast<char*>(to) + done, staging_ + staged_, part, cudaMemcpyHostToDevice, stream_),
             "cudaMemcpyAsync");
    }
    staged_ += part;
    done += part;
  }
}

void DeviceStream::download(void* host, const void* from, size_t bytes) {
  if (bytes > kHalf && turn_ == StepGraphs::Turn::kPlain) {
    return download_halves(static_cast<char*>(host), static_cast<const char*>(from), bytes);
  }
  if (staged_ == kStaging) make_room();
  for (size_t done = 0; done < bytes;) {
    char* at = staging_ + staged_;
    const size_t part = std::min(bytes - done, kStaging - staged_);
    if (turn_ != StepGraphs::Turn::kReplay) {
      expect(cudaMemcpyAsync(at, static_cast<const char*>(from) + done, part, cudaMemcpyDeviceToHost, stream_),
             "cudaMemcpyAsync");
    }
    wait();
    std::memcpy(static_cast<char*>(host) + done, at, part);
    done += part;
  }
}

// Weights, and the parameters and moments of a checkpoint: the host copies one half of the pinned memory while the
// device copies the other.

void DeviceStream::upload_halves(char* to, const char* host, size_t bytes) {
  wait();  // all of it is free
  for (size_t done = 0, i = 0; done < bytes; done += kHalf, ++i) {
    char* at = staging_ + i % 2 * kHalf;
    const size_t part = std::min(bytes - done, kHalf);
    if (i >= 2) wait_for(half_[i % 2]);
    std::memcpy(at, host + done, part);
    expect(cudaMemcpyAsync(to + done, at, part, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    record(half_[i % 2], stream_);
  }
  staged_ = kStaging;
}

void DeviceStream::download_halves(char* host, const char* from, size_t bytes) {
  wait();
  const size_t parts = (bytes + kHalf - 1) / kHalf;
  const auto size = [&](size_t i) { return std::min(bytes - i * kHalf, kHalf); };
  for (size_t asked = 0, i = 0; i < parts; ++i) {
    for (; asked < std::min(i + 2, parts); ++asked) {
      expect(cudaMemcpyAsync(staging_ + asked % 2 * kHalf, from + asked * kHalf, size(asked), cudaMemcpyDeviceToHost,
                             stream_),
             "cudaMemcpyAsync");
      record(half_[asked % 2], stream_);
    }
    wait_for(half_[i % 2]);
    std::memcpy(host + i * kHalf, staging_ + i % 2 * kHalf, size(i));
  }
  wait();
}

void DeviceStream::make_room() {
  if (turn_ != StepGraphs::Turn::kPlain) {
    throw Error(Code::kInternal, "a step's uploads exceed what it said, and the pinned memory of its thread");
  }
  wait();
}

// ---------------------------------------------------------------------------------------------------------------------
// Tiles. The host asks far ahead of the device: `beside_`, which waits for nothing but a tile that is free, decodes the
// next matrix while the operations before its product run.

void DeviceStream::open_tiles() {
  record(opened_, stream_);
  opened_unseen_ = true;
  std::ranges::fill(was_read_, false);
}

void DeviceStream::decode_tile(int tile, const std::function<void()>& decode) {
  if (std::exchange(opened_unseen_, false)) wait_for(opened_, beside_);
  if (was_read_[tile]) wait_for(read_[tile], beside_);
  current_ = beside_;
  try {
    decode();
  } catch (...) {
    current_ = stream_;
    throw;
  }
  current_ = stream_;
  record(decoded_[tile], beside_);
}

void DeviceStream::tile_decoded(int tile) { wait_for(decoded_[tile], stream_); }

void DeviceStream::tile_read(int tile) {
  record(read_[tile], stream_);
  was_read_[tile] = true;
}

// ---------------------------------------------------------------------------------------------------------------------
// Activations on their way

void DeviceStream::copy_beside(int slot, void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  record(asked_, stream_);
  wait_for(asked_, copies_);
  expect(cudaMemcpyAsync(to, from, bytes, kind, copies_), "cudaMemcpyAsync");
  record(copied_[slot], copies_);
  copying_[slot] = true;
}

void DeviceStream::copied(int slot) {
  if (std::exchange(copying_[slot], false)) wait_for(copied_[slot], stream_);
}

// ---------------------------------------------------------------------------------------------------------------------

void capture_steps(int64_t turn) { stream().graphs().capture_at(turn); }
int64_t waits() { return stream().waits(); }
KeptSteps kept_steps() {
  const StepGraphs& graphs = stream().graphs();
  return {graphs.captured(), graphs.replayed(), graphs.kept(), graphs.refused()};
}

}  // namespace humanizer::cuda
