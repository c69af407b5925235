// The frozen base model: which tensors a Llama has, what they are called and which of them are quantised.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "adapter.h"
#include "weight.h"

namespace humanizer {

struct Architecture {
  int64_t hidden, intermediate, layers, heads, kv_heads, head_size, vocabulary;
  float norm_epsilon, rope_theta;
  RopeScaling rope_scaling;
  bool tied_embeddings;
  bool qkv_bias, output_bias;  // biases of q, k and v, and of o
  int64_t q_size() const { return heads * head_size; }
  int64_t kv_size() const { return kv_heads * head_size; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }
};

// (in, out) of the seven linear layers of a decoder layer.
std::array<ModuleShape, kModules> module_shapes(const Architecture& a);

struct LayerWeights {
  std::vector<float> attention_norm, mlp_norm;  // hidden
  std::vector<float> qkv_bias, o_bias;          // empty when the model has none
  std::array<Weight, kModules> linear;          // by Module
};

struct LlamaWeights {
  Weight embedding;  // as the file has it: looked up by row
  Weight head;       // empty when tied
  std::vector<float> norm;
  std::vector<LayerWeights> layers;
};

// progress is called with the fraction done after each matrix; what it throws ends the loading. Throws
// Error{kDataInvalid} naming a tensor that is missing, has another shape than the architecture says, is cut short or
// not finite.
LlamaWeights load_weights(const Backend& backend, Account& account, const Architecture& a,
                          const std::vector<TensorSource>& sources, const Quantization& quantization,
                          const std::function<void(double)>& progress);

}  // namespace humanizer
