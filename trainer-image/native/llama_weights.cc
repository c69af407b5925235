#include "llama_weights.h"

#include <algorithm>
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

ModuleShapes module_shapes(const Architecture& a) {
  ModuleShapes shapes{};
  if (a.fused_projections) {
    shapes[kQ] = {"self_attn.qkv_proj", a.hidden, a.qkv_size()};
    shapes[kGate] = {"mlp.gate_up_proj", a.hidden, 2 * a.intermediate};
  } else {
    shapes[kQ] = {"self_attn.q_proj", a.hidden, a.q_size()};
    shapes[kK] = {"self_attn.k_proj", a.hidden, a.kv_size()};
    shapes[kV] = {"self_attn.v_proj", a.hidden, a.kv_size()};
    shapes[kGate] = {"mlp.gate_proj", a.hidden, a.intermediate};
    shapes[kUp] = {"mlp.up_proj", a.hidden, a.intermediate};
  }
  shapes[kO] = {"self_attn.o_proj", a.q_size(), a.hidden};
  shapes[kDown] = {"mlp.down_proj", a.intermediate, a.hidden};
  return shapes;
}

LlamaWeights load_weights(const Backend& backend, Account& account, const Architecture& a,
                          const std::vector<TensorSource>& sources, const Quantization& quantization,
                          const std::function<void(double)>& progress) {
  const Tensors tensors(sources);
  const auto vector = [&](const std::string& name, int64_t size) {
    return read_values(cpu_backend(), tensors.get(name, {size}));
  };
  const ModuleShapes shapes = module_shapes(a);
  const int64_t present = std::ranges::count_if(shapes, [](const ModuleShape& shape) { return shape.name; });
  const int64_t matrices = (a.tied_embeddings ? 1 : 2) + a.layers * present;
  int64_t done = 0;
  // What somebody quantised before is taken as it is, the layers that were kept in 16 bits too.
  const bool quantise = quantization.nf4 && std::ranges::none_of(sources, [](const TensorSource& source) {
                          return source.nf4.has_value();
                        });
  const auto matrix = [&](const std::string& name, int64_t out, int64_t in, bool linear) {
    const TensorSource& source = tensors.get(name, {out, in});
    Weight weight = linear && source.nf4 ? Weight::saved_nf4(account, source)
                    : linear && quantise ? Weight::quantized(backend, account, source, quantization)
                                         : Weight::stored(backend, account, source);
    progress(static_cast<double>(++done) / static_cast<double>(matrices));
    return weight;
  };

  LlamaWeights weights;
  weights.embedding = matrix("model.embed_tokens.weight", a.vocabulary, a.hidden, false);
  if (!a.tied_embeddings) weights.head = matrix("lm_head.weight", a.vocabulary, a.hidden, false);
  weights.norm = filled(account, vector("model.norm.weight", a.hidden));
  for (int64_t l = 0; l < a.layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    LayerWeights layer;
    layer.attention_norm = filled(account, vector(prefix + "input_layernorm.weight", a.hidden));
    layer.mlp_norm = filled(account, vector(prefix + "post_attention_layernorm.weight", a.hidden));
    for (size_t m = 0; m < kModules; ++m) {
      const auto& [name, in, out] = shapes[m];
      if (name) layer.linear[m] = matrix(prefix + name + ".weight", out, in, true);
    }
    if (a.qkv_bias) {
      std::vector<float> joined;
      for (const Module m : {kQ, kK, kV}) {
        if (!shapes[m].name) continue;
        const std::vector<float> bias = vector(prefix + shapes[m].name + ".bias", shapes[m].out);
        joined.insert(joined.end(), bias.begin(), bias.end());
      }
      layer.qkv_bias = filled(account, joined);
    }
    if (a.output_bias) layer.o_bias = filled(account, vector(prefix + shapes[kO].name + ".bias", a.hidden));
    weights.layers.push_back(std::move(layer));
  }
  return weights;
}

}  // namespace humanizer
