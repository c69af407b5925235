// Training steps kept as CUDA graphs: what a step of some shapes does is captured and runs again, as one launch, when
// the same shapes come again. Kept by key (Backend::begin), the least recently used make room.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace humanizer::cuda {

inline constexpr size_t kKeptGraphs = 4;   // each has memory of the device
inline constexpr size_t kKnownSteps = 64;  // whose turns are counted

class StepGraphs {
 public:
  enum class Turn { kPlain, kCapture, kReplay };

  StepGraphs() = default;
  ~StepGraphs();
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // A step is captured at its turn `at`, the second being 2; 1 also captures, without keeping them, those that come
  // once; 0: none is captured.
  void capture_at(int64_t turn) { capture_at_ = turn; }
  // How the step of this key, or one that comes once, is to run. The other functions are about the same step.
  Turn begin(std::span<const int64_t> key);
  // Makes the captured graph executable.
  cudaError_t instantiate(cudaGraph_t graph);
  cudaGraphExec_t executable() const { return step_ ? step_->graph : once_; }
  // It has run, or was given up.
  void end();

  // The step has plain turns alone from now on, for that reason.
  void refuse(const std::string& reason);
  const std::string& refused() const { return refused_; }
  int64_t captured() const { return captured_; }
  int64_t replayed() const { return replayed_; }
  int64_t kept() const;

 private:
  struct Step {
    std::vector<int64_t> key;
    int64_t turns = 0, last = 0;
    bool refused = false;
    cudaGraphExec_t graph = nullptr;
  };
  Step& known(std::span<const int64_t> key);
  void make_room();

  std::vector<Step> steps_;
  Step* step_ = nullptr;  // the one that has begun; null: it comes once
  cudaGraphExec_t once_ = nullptr;
  int64_t capture_at_ = 2, clock_ = 0, captured_ = 0, replayed_ = 0;
  std::string refused_;
};

}  // namespace humanizer::cuda
