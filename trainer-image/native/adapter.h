// A LoRA adapter: its parameters, their gradients and the optimizer's moments, each one flat f32 array in the same
// order, so that the norm and the update are one pass and a checkpoint is four arrays.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend.h"
#include "memory.h"

namespace humanizer {

// The linear layers of a decoder layer, in the order of the forward pass; the number is the Philox key's module. Where
// projections are fused (Phi-3), qkv_proj has the place of kQ and gate_up_proj that of kGate; kK, kV and kUp are
// absent.
enum Module { kQ, kK, kV, kO, kGate, kUp, kDown, kModules };

struct LoraConfig {
  int64_t rank;
  float scale;                       // alpha / rank, or alpha / sqrt(rank)
  float dropout;                     // in [0, 1)
  std::vector<std::string> targets;  // the last part of a module's name: "q_proj"
  uint64_t seed;
};

struct ModuleShape {
  const char* name;  // self_attn.q_proj; null: the model has no such layer
  int64_t in, out;
};
using ModuleShapes = std::array<ModuleShape, kModules>;

// One parameter matrix inside the flat arrays.
struct Slot {
  std::string name;  // PEFT: base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight
  int64_t rows, cols, offset;
};

// A parameter matrix on its own, as files have it.
struct NamedTensor {
  std::string name;
  int64_t rows, cols;
  std::vector<float> data;
};

struct UpdateOutcome : GradientNorm {
  std::string non_finite;  // the first parameter, as backward went, whose gradient is no finite number; else empty
};

class Adapter {
 public:
  // A from U(-1/sqrt(in), 1/sqrt(in)) (PEFT's kaiming_uniform(sqrt 5)), B zero. Throws Error{kInvalidArgument} naming a
  // target that matches no module and the modules there are.
  Adapter(const Backend& backend, std::shared_ptr<Account> account, LoraConfig config, int64_t layers,
          const ModuleShapes& shapes);

  const LoraConfig& config() const { return config_; }
  const std::vector<Slot>& slots() const { return slots_; }
  int64_t count() const { return count_; }
  float* parameters() const { return parameters_.as(); }
  // Made at the first use: an adapter that only serves has none.
  float* gradients();
  float* first_moment();
  float* second_moment();

  bool has(Module module) const { return present_[module]; }
  LoraWeights weights(int64_t layer, Module module) const;
  float* a_gradient(int64_t layer, Module module) { return gradients() + a_slot(layer, module).offset; }
  float* b_gradient(int64_t layer, Module module) { return gradients() + slots_[a_index(layer, module) + 1].offset; }

  // Fills one of the flat arrays from named tensors: every parameter exactly, and nothing else.
  // Throws Error{kDataInvalid} naming the first that is missing, unknown or of another shape.
  void assign(float* array, const std::vector<NamedTensor>& tensors) const;
  void discard_gradients();
  // Holds state() meanwhile.
  UpdateOutcome update(const AdamwOptions& options);
  // What only update() changes, the parameters and moments, can be read under it while a pass over the model goes on.
  std::mutex& state() { return state_; }

 private:
  size_t a_index(int64_t layer, Module module) const {
    return static_cast<size_t>(layer) * per_layer_ + first_[module];
  }
  const Slot& a_slot(int64_t layer, Module module) const { return slots_[a_index(layer, module)]; }
  float* lazily(Buffer& buffer);
  std::string non_finite_gradient();
  void initialise(int64_t layers);

  const Backend& backend_;
  std::shared_ptr<Account> account_;
  LoraConfig config_;
  std::array<bool, kModules> present_{};
  std::array<size_t, kModules> first_{};
  size_t per_layer_ = 0;
  std::vector<Slot> slots_;
  int64_t count_ = 0;
  Buffer parameters_, gradients_, first_moment_, second_moment_;
  std::mutex state_;
};

}  // namespace humanizer
