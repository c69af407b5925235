#include "adapter.h"

#include <cmath>
#include <unordered_map>

#include "error.h"

namespace humanizer {

Adapter::Adapter(const Backend& backend, std::shared_ptr<Account> account, LoraConfig config, int64_t layers,
                 const ModuleShapes& shapes)
    : backend_(backend), account_(std::move(account)), config_(std::move(config)) {
  for (const std::string& target : config_.targets) {
    bool matched = false;
    std::string there;
    for (size_t m = 0; m < kModules; ++m) {
      if (!shapes[m].name) continue;
      const std::string name = shapes[m].name, last = name.substr(name.find('.') + 1);
      there += (there.empty() ? "" : ", ") + last;
      if (name == target || last == target) present_[m] = matched = true;
    }
    if (!matched) {
      throw Error(Code::kInvalidArgument,
                  "targetModules: '" + target + "' matches no linear layer; there are " + there);
    }
  }
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (size_t m = 0; m < kModules; ++m) {
      if (!present_[m]) continue;
      if (layer == 0) first_slot_[m] = slots_.size();
      const std::string name =
          "base_model.model.model.layers." + std::to_string(layer) + "." + shapes[m].name + ".lora_";
      slots_.push_back({name + "A.weight", config_.rank, shapes[m].in, count_});
      count_ += config_.rank * shapes[m].in;
      slots_.push_back({name + "B.weight", shapes[m].out, config_.rank, count_});
      count_ += config_.rank * shapes[m].out;
    }
    if (layer == 0) per_layer_ = slots_.size();
  }
  if (count_ == 0) throw Error(Code::kInvalidArgument, "targetModules: at least one is needed");
  for (Slot& slot : slots_) {
    slot.quantized = config_.optimizer == Optimizer::kAdamW8bit && slot.count() >= kMinQuantizedMoments;
    int64_t& taken = slot.quantized ? moment_codes_ : moment_values_;
    slot.moment = taken;
    taken += slot.count();
    slot.block = moment_blocks_;
    if (slot.quantized) moment_blocks_ += (slot.count() + kMomentBlock - 1) / kMomentBlock;
  }
  initialise(layers);
}

void Adapter::initialise(int64_t layers) {
  Filling filling(*account_, static_cast<size_t>(count_) * sizeof(float));
  auto* values = reinterpret_cast<float*>(filling.data());
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (size_t m = 0; m < kModules; ++m) {
      if (!present_[m]) continue;
      const Slot& slot = a_slot(layer, static_cast<Module>(m));
      const float bound = 1.0f / std::sqrt(static_cast<float>(slot.cols));
      const PhiloxKey key = philox_key(config_.seed, static_cast<int>(layer), static_cast<int>(m));
      uint32_t words[32];
      for (int64_t i = 0; i < slot.rows * slot.cols; ++i) {
        const int64_t row = i / slot.cols, column = i % slot.cols;
        if (column % 32 == 0) {
          philox_group(words, key, kInitialisationStep, 0, static_cast<uint32_t>(row),
                       static_cast<uint32_t>(column / 32 * 8));
        }
        const float unit = static_cast<float>(words[column % 32] >> 8) * 0x1p-24f;  // [0, 1), 24 bits
        values[slot.offset + i] = (2 * unit - 1) * bound;
      }
    }
  }
  parameters_ = filling.done();
}

float* Adapter::lazily(Buffer& buffer) {
  if (buffer.bytes() == 0) buffer = Buffer(*account_, static_cast<size_t>(count_) * sizeof(float));
  return buffer.as();
}
float* Adapter::gradients() { return lazily(gradients_); }

const Moments& Adapter::lazily(Moments& moments) {
  if (moments.values.bytes() + moments.codes.bytes() > 0) return moments;
  Moments fresh;
  if (moment_values_ > 0) fresh.values = Buffer(*account_, static_cast<size_t>(moment_values_) * sizeof(float));
  if (moment_codes_ > 0) {
    fresh.codes = Buffer(*account_, static_cast<size_t>(moment_codes_));
    fresh.absmax = Buffer(*account_, static_cast<size_t>(moment_blocks_) * sizeof(float));
  }
  moments = std::move(fresh);
  return moments;
}

LoraWeights Adapter::weights(int64_t layer, Module module) const {
  const size_t a = a_index(layer, module);
  return {parameters() + slots_[a].offset, parameters() + slots_[a + 1].offset, config_.rank, config_.scale};
}

template <class Named, class Take>
void Adapter::match(const std::vector<Named>& tensors, Take take) const {
  std::unordered_map<std::string, const Named*> by_name;
  for (const Named& tensor : tensors) by_name.emplace(tensor.name, &tensor);
  for (const Slot& slot : slots_) {
    const auto found = by_name.find(slot.name);
    if (found == by_name.end()) throw Error(Code::kDataInvalid, "adapter tensor " + slot.name + " is missing");
    const Named& tensor = *found->second;
    if (tensor.rows != slot.rows || tensor.cols != slot.cols) {
      throw Error(Code::kDataInvalid, "adapter tensor " + slot.name + " is [" + std::to_string(tensor.rows) + ", " +
                                          std::to_string(tensor.cols) + "], this model and rank need [" +
                                          std::to_string(slot.rows) + ", " + std::to_string(slot.cols) + "]");
    }
    take(slot, tensor);
    by_name.erase(found);
  }
  if (!by_name.empty()) {
    throw Error(Code::kDataInvalid,
                "adapter tensor " + by_name.begin()->first + " belongs to no target module of this model");
  }
}

void Adapter::assign(float* array, const std::vector<NamedTensor>& tensors) const {
  match(tensors, [&](const Slot& slot, const NamedTensor& tensor) {
    if (static_cast<int64_t>(tensor.data.size()) != slot.count()) {
      throw Error(Code::kDataInvalid, "adapter tensor " + slot.name + " has " + std::to_string(tensor.data.size()) +
                                          " values, expected " + std::to_string(slot.count()));
    }
    memory().upload(array + slot.offset, tensor.data.data(), tensor.data.size() * sizeof(float));
  });
}

void Adapter::assign(const Moments& moments, const std::vector<NamedMoments>& tensors) const {
  match(tensors, [&](const Slot& slot, const NamedMoments& tensor) {
    const size_t count = static_cast<size_t>(slot.count()), blocks = (count + kMomentBlock - 1) / kMomentBlock;
    if (slot.quantized ? tensor.codes.size() != count || tensor.absmax.size() != blocks
                       : tensor.values.size() != count) {
      throw Error(Code::kDataInvalid, "the moments of " + slot.name +
                                          " are not as this optimizer keeps them: expected " + std::to_string(count) +
                                          (slot.quantized ? " codes and " : " values") +
                                          (slot.quantized ? std::to_string(blocks) + " scales" : ""));
    }
    if (slot.quantized) {
      memory().upload(moments.codes.as<uint8_t>() + slot.moment, tensor.codes.data(), count);
      memory().upload(moments.absmax.as() + slot.block, tensor.absmax.data(), blocks * sizeof(float));
    } else {
      memory().upload(moments.values.as() + slot.moment, tensor.values.data(), count * sizeof(float));
    }
  });
}

void Adapter::discard_gradients() {
  memory().zero(gradients(), static_cast<size_t>(count_) * sizeof(float));
  backend_.synchronize();
}

void Adapter::reserve_outcome() {
  if (outcome_.bytes() > 0) return;
  std::vector<int64_t> begins;
  for (const Slot& slot : slots_) begins.push_back(slot.offset);
  begins.push_back(count_);
  Buffer of_slots = filled(*account_, begins);
  outcome_ = Buffer(*account_, sizeof(GradientNorm) + slots_.size() * sizeof(int32_t), false);
  slot_begins_ = std::move(of_slots);
}

UpdateOutcome Adapter::update(const AdamwOptions& options) {
  const std::lock_guard lock(state_);
  const Moments &first = first_moments(), &second = second_moments();
  gradients();
  reserve_outcome();
  auto* norm = outcome_.as<GradientNorm>();
  auto* flags = reinterpret_cast<int32_t*>(norm + 1);
  const auto slots = static_cast<int64_t>(slots_.size());
  backend_.begin({}, 0);
  backend_.gradient_norm(norm, gradients(), count_, options.gradient_scale);
  // Before the update zeroes them.
  backend_.non_finite_parts(flags, gradients(), slot_begins_.as<int64_t>(), slots, norm);
  if (moment_codes_ == 0) {
    backend_.adamw_update(parameters(), gradients(), first.values.as(), second.values.as(), count_, norm, options);
  } else {
    for (const Slot& slot : slots_) update(slot, first, second, norm, options);
  }
  GradientNorm measured{};
  memory().download(&measured, norm, sizeof measured);
  UpdateOutcome outcome{measured, {}};
  if (outcome.skip == 0) return outcome;
  std::vector<int32_t> found(slots_.size());
  memory().download(found.data(), flags, found.size() * sizeof(int32_t));
  // Backward goes from the last layer to the first, and in each from down_proj to q_proj: the slots backwards.
  for (size_t s = slots_.size(); s-- > 0 && outcome.non_finite.empty();) {
    if (found[s] != 0) outcome.non_finite = slots_[s].name;
  }
  return outcome;
}

void Adapter::update(const Slot& slot, const Moments& first, const Moments& second, const GradientNorm* norm,
                     const AdamwOptions& options) {
  float *parameter = parameters() + slot.offset, *gradient = gradients() + slot.offset;
  if (slot.quantized) {
    const QuantizedMoments moments{first.codes.as<uint8_t>() + slot.moment, second.codes.as<uint8_t>() + slot.moment,
                                   first.absmax.as() + slot.block, second.absmax.as() + slot.block};
    backend_.adamw8bit_update(parameter, gradient, moments, slot.count(), norm, options);
  } else {
    backend_.adamw_update(parameter, gradient, first.values.as() + slot.moment, second.values.as() + slot.moment,
                          slot.count(), norm, options);
  }
}

}  // namespace humanizer
