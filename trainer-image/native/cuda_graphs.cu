#include <algorithm>

#include "cuda_graphs.cuh"

namespace humanizer::cuda {

namespace {

void destroy(cudaGraphExec_t& graph) {
  if (graph) cudaGraphExecDestroy(graph);
  graph = nullptr;
}

}  // namespace

StepGraphs::~StepGraphs() {
  end();
  for (Step& step : steps_) destroy(step.graph);
}

StepGraphs::Turn StepGraphs::begin(std::span<const int64_t> key) {
  end();
  if (capture_at_ == 0) return Turn::kPlain;
  if (key.empty()) return capture_at_ == 1 ? Turn::kCapture : Turn::kPlain;
  Step& step = known(key);
  step.last = ++clock_;
  ++step.turns;
  if (step.refused || (!step.graph && step.turns < capture_at_)) return Turn::kPlain;
  step_ = &step;
  if (!step.graph) return Turn::kCapture;
  ++replayed_;
  return Turn::kReplay;
}

// steps_ grows and shrinks here alone, between steps: step_ stays valid.
StepGraphs::Step& StepGraphs::known(std::span<const int64_t> key) {
  for (Step& step : steps_) {
    if (std::ranges::equal(step.key, key)) return step;
  }
  if (steps_.size() == kKnownSteps) {
    const auto oldest = std::ranges::min_element(steps_, {}, &Step::last);
    destroy(oldest->graph);
    steps_.erase(oldest);
  }
  steps_.push_back({{key.begin(), key.end()}});
  return steps_.back();
}

// One that makes room must come `capture_at_` times again.
void StepGraphs::make_room() {
  while (kept() >= static_cast<int64_t>(kKeptGraphs)) {
    Step* oldest = nullptr;
    for (Step& step : steps_) {
      if (step.graph && (!oldest || step.last < oldest->last)) oldest = &step;
    }
    destroy(oldest->graph);
    oldest->turns = 0;
  }
}

cudaError_t StepGraphs::instantiate(cudaGraph_t graph) {
  if (step_) make_room();
  cudaGraphExec_t& executable = step_ ? step_->graph : once_;
  const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
  if (status != cudaSuccess) {
    executable = nullptr;
    return status;
  }
  ++captured_;
  return cudaSuccess;
}

void StepGraphs::end() {
  destroy(once_);
  step_ = nullptr;
}

void StepGraphs::refuse(const std::string& reason) {
  refused_ = reason;
  if (step_) {
    destroy(step_->graph);
    step_->refused = true;
  }
  end();
}

int64_t StepGraphs::kept() const {
  return std::ranges::count_if(steps_, [](const Step& step) { return step.graph != nullptr; });
}

}  // namespace humanizer::cuda
