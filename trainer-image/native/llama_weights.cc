#include "llama_weights.h"

#include <unordered_map>

#include "error.h"

namespace humanizer {

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

class Tensors {
 public:
  explicit Tensors(const std::vector<TensorSource>& sources) {
    for (const TensorSource& source : sources) by_name_.emplace(source.name, &source);
  }

  const TensorSource& get(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) throw Error(Code::kDataInvalid, "tensor " + name + " is missing");
    if (found->second->shape != shape) {
      throw Error(Code::kDataInvalid, "tensor " + name + " has shape " + shape_text(found->second->shape) +
                                          ", the architecture needs " + shape_text(shape));
    }
    return *found->second;
  }

 private:
  std::unordered_map<std::string, const TensorSource*> by_name_;
};

}  // namespace

std::array<ModuleShape, kModules> module_shapes(const Architecture& a) {
  return {{{a.hidden, a.q_size()},
           {a.hidden, a.kv_size()},
           {a.hidden, a.kv_size()},
           {a.q_size(), a.hidden},
           {a.hidden, a.intermediate},
           {a.hidden, a.intermediate},
           {a.intermediate, a.hidden}}};
}

LlamaWeights load_weights(const Backend& backend, Account& account, const Architecture& a,
                          const std::vector<TensorSource>& sources, const Quantization& quantization,
                          const std::function<void(double)>& progress) {
  const Tensors tensors(sources);
  const auto vector = [&](const std::string& name, int64_t size) {
    return read_values(backend, tensors.get(name, {size}));
  };
  const auto shapes = module_shapes(a);
  const int64_t matrices = (a.tied_embeddings ? 1 : 2) + a.layers * static_cast<int64_t>(kModules);
  int64_t done = 0;
  const auto matrix = [&](const std::string& name, ModuleShape shape, bool nf4) {
    const TensorSource& source = tensors.get(name, {shape.out, shape.in});
    Weight weight =
        nf4 ? Weight::quantized(backend, account, source, quantization) : Weight::stored(backend, account, source);
    progress(static_cast<double>(++done) / static_cast<double>(matrices));
    return weight;
  };

  LlamaWeights weights;
  weights.embedding = matrix("model.embed_tokens.weight", {a.hidden, a.vocabulary}, false);
  if (!a.tied_embeddings) weights.head = matrix("lm_head.weight", {a.hidden, a.vocabulary}, false);
  weights.norm = vector("model.norm.weight", a.hidden);
  for (int64_t l = 0; l < a.layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    LayerWeights layer;
    layer.attention_norm = vector(prefix + "input_layernorm.weight", a.hidden);
    layer.mlp_norm = vector(prefix + "post_attention_layernorm.weight", a.hidden);
    for (size_t m = 0; m < kModules; ++m) {
      layer.linear[m] = matrix(prefix + kModuleNames[m] + ".weight", shapes[m], quantization.nf4);
    }
    if (a.qkv_bias) {
      for (const Module m : {kQ, kK, kV}) {
        const std::vector<float> bias = vector(prefix + kModuleNames[m] + ".bias", shapes[m].out);
        layer.qkv_bias.insert(layer.qkv_bias.end(), bias.begin(), bias.end());
      }
    }
    if (a.output_bias) layer.o_bias = vector(prefix + kModuleNames[kO] + ".bias", a.hidden);
    weights.layers.push_back(std::move(layer));
  }
  return weights;
}

}  // namespace humanizer
