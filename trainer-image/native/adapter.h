// A LoRA adapter: its parameters, their gradients and the optimizer's moments, each one flat f32 array in the same
// order, so that the norm and the update are one pass. Moments in 8 bits lie in arrays of their own.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend.h"
#include "memory.h"
#include "serial.h"

namespace humanizer {

// The linear layers of a decoder layer, in the order of the forward pass; the number is the Philox key's module. Where
// projections are fused (Phi-3), qkv_proj has the place of kQ and gate_up_proj that of kGate; kK, kV and kUp are
// absent.
enum Module { kQ, kK, kV, kO, kGate, kUp, kDown, kModules };

enum class Optimizer : uint8_t { kAdamW, kAdamW8bit };

struct LoraConfig {
  int64_t rank;
  float scale;                       // alpha / rank, or alpha / sqrt(rank)
  float dropout;                     // in [0, 1)
  std::vector<std::string> targets;  // the last part of a module's name: "q_proj"
  uint64_t seed;
  Optimizer optimizer = Optimizer::kAdamW;
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
  bool quantized = false;  // its moments are in 8 bits (adamw8bit.h)
  int64_t moment = 0;      // where they begin: in values, or in codes when quantized
  int64_t block = 0;       // and in absmax
  int64_t count() const { return rows * cols; }
};

// A parameter matrix on its own, as files have it.
struct NamedTensor {
  std::string name;
  int64_t rows, cols;
  std::vector<float> data;
};

// One of the two moments of every parameter: f32 values, or codes with the maxima of their blocks.
struct Moments {
  Buffer values, codes, absmax;
};

// The moments of one parameter matrix, as files have them: values, or codes and absmax.
struct NamedMoments {
  std::string name;
  int64_t rows, cols;
  std::vector<float> values;
  std::vector<uint8_t> codes;
  std::vector<float> absmax;
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
  int64_t serial() const { return serial_; }
  float* parameters() const { return parameters_.as(); }
  // Made at the first use: an adapter that only serves has none.
  float* gradients();
  const Moments& first_moments() { return lazily(first_); }
  const Moments& second_moments() { return lazily(second_); }

  bool has(Module module) const { return present_[module]; }
  LoraWeights weights(int64_t layer, Module module) const;
  float* a_gradient(int64_t layer, Module module) { return gradients() + a_slot(layer, module).offset; }
  float* b_gradient(int64_t layer, Module module) { return gradients() + slots_[a_index(layer, module) + 1].offset; }

  // The backend's, where the arrays lie: the host reads and writes them through it.
  const Memory& memory() const { return account_->memory; }
  // Fills one of the flat arrays from named tensors: every parameter exactly, and nothing else.
  // Throws Error{kDataInvalid} naming the first that is missing, unknown or of another shape.
  void assign(float* array, const std::vector<NamedTensor>& tensors) const;
  // The same for moments, whose form must be that of this adapter's optimizer.
  void assign(const Moments& moments, const std::vector<NamedMoments>& tensors) const;
  void discard_gradients();
  // Holds state() meanwhile.
  UpdateOutcome update(const AdamwOptions& options);
  // What only update() changes, the parameters and moments, can be read under it while a pass over the model goes on.
  std::mutex& state() { return state_; }

 private:
  size_t a_index(int64_t layer, Module module) const {
    return static_cast<size_t>(layer) * per_layer_ + first_slot_[module];
  }
  const Slot& a_slot(int64_t layer, Module module) const { return slots_[a_index(layer, module)]; }
  float* lazily(Buffer& buffer);
  const Moments& lazily(Moments& moments);
  // The slot of each tensor, every slot once; throws as assign does.
  template <class Named, class Take>
  void match(const std::vector<Named>& tensors, Take take) const;
  void initialise(int64_t layers);
  void reserve_outcome();
  void update(const Slot& slot, const Moments& first, const Moments& second, const GradientNorm* norm,
              const AdamwOptions& options);

  const int64_t serial_ = next_serial();
  const Backend& backend_;
  std::shared_ptr<Account> account_;
  LoraConfig config_;
  std::array<bool, kModules> present_{};
  std::array<size_t, kModules> first_slot_{};
  size_t per_layer_ = 0;
  std::vector<Slot> slots_;
  int64_t count_ = 0;
  int64_t moment_values_ = 0, moment_codes_ = 0, moment_blocks_ = 0;
  Buffer parameters_, gradients_;
  Buffer outcome_, slot_begins_;  // of update: the norm, then a flag a slot; where each slot begins, and their end
  Moments first_, second_;
  std::mutex state_;
};

}  // namespace humanizer
