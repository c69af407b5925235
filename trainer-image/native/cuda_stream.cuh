// What one thread has of the device: a stream for its operations, one beside it for the frozen matrices that are
// decoded ahead, one for activations on their way to the host and back, pinned memory of a fixed size that carries the
// host's bytes, and the steps that it keeps as graphs.
#pragma once

#include <cuda_runtime.h>

#include <functional>
#include <optional>
#include <span>

#include "cublaslt.h"
#include "cuda_graphs.cuh"

namespace humanizer::cuda {

inline constexpr int kTiles = 2;

// The tables of nf4.h and adamw8bit.h, in the device's memory for the life of the process.
struct Tables {
  float *nf4, *dynamic, *unsigned_dynamic;
};
const Tables& tables();

class DeviceStream {
 public:
  DeviceStream();
  ~DeviceStream();
  DeviceStream(const DeviceStream&) = delete;
  DeviceStream& operator=(const DeviceStream&) = delete;

  operator cudaStream_t() const { return current_; }
  Products& products();
  double* small() const { return small_; }  // scratch of one operation: kNormParts of them

  // Backend::begin.
  bool begin(std::span<const int64_t> key, size_t upload_bytes);
  // What an operation that threw has left half done.
  void abandon();
  // Until all that was asked for is done; runs what has been captured or kept. Throws StepNotKept.
  void wait();
  int64_t waits() const { return waits_; }

  // The host's bytes are free at the return of upload, and there at that of download, which waits.
  void upload(void* to, const void* host, size_t bytes);
  void download(void* host, const void* from, size_t bytes);

  // Backend::open_tiles and its neighbours.
  void open_tiles();
  void decode_tile(int tile, const std::function<void()>& decode);
  void tile_decoded(int tile);
  void tile_read(int tile);

  // Backend::offload, fetch and copied.
  void copy_beside(int slot, void* to, const void* from, size_t bytes, cudaMemcpyKind kind);
  void copied(int slot);

  StepGraphs& graphs() { return graphs_; }

 private:
  void make_room();
  void upload_halves(char* to, const char* host, size_t bytes);
  void download_halves(char* host, const char* from, size_t bytes);
  void launch_graph();
  void run_captured();
  [[noreturn]] void give_up(const char* call, cudaError_t status);
  [[noreturn]] void give_up(const std::string& reason);
  void finished();

  cudaStream_t stream_ = nullptr, beside_ = nullptr, copies_ = nullptr, current_ = nullptr;
  cudaEvent_t opened_ = nullptr, decoded_[kTiles] = {}, read_[kTiles] = {}, half_[2] = {};
  cudaEvent_t asked_ = nullptr, copied_[2] = {};
  bool copying_[2] = {};        // of each slot; nothing has waited for it
  bool opened_unseen_ = false;  // by `beside_`, which joins a capture only where a tile is decoded
  bool was_read_[kTiles] = {};  // since the tiles were opened
  char* staging_ = nullptr;
  size_t staged_ = 0;
  double* small_ = nullptr;
  std::optional<Products> products_;
  StepGraphs graphs_;
  StepGraphs::Turn turn_ = StepGraphs::Turn::kPlain;
  int64_t waits_ = 0;
};

// The calling thread's.
DeviceStream& stream();

}  // namespace humanizer::cuda
