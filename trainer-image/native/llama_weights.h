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
  bool fused_projections;      // q, k and v are one matrix, gate and up another
  int64_t q_size() const { return heads * head_size; }
  int64_t kv_size() const { return kv_heads * head_size; }
  int64_t qkv_size() const { return q_size() + 2 * kv_size(); }
};

// Names and sizes of the linear layers of a decoder layer.
ModuleShapes module_shapes(const Architecture& a);

struct LayerWeights {
  Buffer attention_norm, mlp_norm;      // f32 (hidden)
  Buffer qkv_bias, o_bias;              // f32; empty when the model has none
  std::array<Weight, kModules> linear;  // by Module; empty where the model has none
};

struct LlamaWeights {
  Weight embedding;  // as the file has it: looked up by row
  Weight head;       // empty when tied
  Buffer norm;       // f32 (hidden)
  std::vector<LayerWeights> layers;
};

// Linear layers that come in 4 bits stay so, and when one does none of the others is quantised.
// progress is called with the fraction done after each matrix; what it throws ends the loading. Throws
// Error{kDataInvalid} naming a tensor that is missing, has another shape than the architecture says, is cut short or
// not finite.
LlamaWeights load_weights(const Backend& backend, Account& account, const Architecture& a,
                          const std::vector<TensorSource>& sources, const Quantization& quantization,
                          const std::function<void(double)>& progress);

}  // namespace humanizer
