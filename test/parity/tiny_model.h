// Small random models in files of their own, for the programs that run the engine without Node.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "llama.h"

namespace humanizer {

using Generator = std::mt19937;

inline int64_t draw(Generator& generator, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(generator);
}

// A file with a name of its own, gone with its owner.
class TemporaryFile {
 public:
  TemporaryFile() {
    const int descriptor = mkstemp(path_.data());
    if (descriptor < 0) throw std::runtime_error("cannot make " + path_);
    close(descriptor);
  }
  ~TemporaryFile() { unlink(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }
  void write(const std::vector<uint8_t>& bytes) const {
    std::FILE* file = std::fopen(path_.c_str(), "wb");
    if (!file || std::fwrite(bytes.data(), 1, bytes.size(), file) != bytes.size()) std::abort();
    std::fclose(file);
  }

 private:
  std::string path_ = "/tmp/humanizer-model-XXXXXX";
};

struct ModelBytes {
  std::vector<TensorSource> sources;
  std::vector<uint8_t> bytes;  // of the file that they name
};

// F32 weights that keep activations of an ordinary size.
inline ModelBytes random_weights(const Architecture& a, const std::string& path, Generator& generator) {
  ModelBytes model;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const bool matrix = shape.size() == 2;
    const int64_t count = shape.front() * (matrix ? shape[1] : 1);
    std::uniform_real_distribution<float> uniform(-1, 1);
    const float scale = matrix ? 1.7f / std::sqrt(static_cast<float>(shape[1])) : 0.2f;
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = scale * uniform(generator) + (matrix ? 0.0f : 1.0f);
    const auto* begin = reinterpret_cast<const uint8_t*>(values.data());
    model.sources.push_back(
        {name, path, Format::kF32, std::move(shape), static_cast<int64_t>(model.bytes.size()), 4 * count, 0});
    model.bytes.insert(model.bytes.end(), begin, begin + 4 * count);
  };
  const auto shapes = module_shapes(a);
  add("model.embed_tokens.weight", {a.vocabulary, a.hidden});
  if (!a.tied_embeddings) add("lm_head.weight", {a.vocabulary, a.hidden});
  add("model.norm.weight", {a.hidden});
  for (int64_t l = 0; l < a.layers; ++l) {
    const std::string prefix = "model.layers." + std::to_string(l) + ".";
    add(prefix + "input_layernorm.weight", {a.hidden});
    add(prefix + "post_attention_layernorm.weight", {a.hidden});
    for (size_t m = 0; m < kModules; ++m) {
      add(prefix + kModuleNames[m] + ".weight", {shapes[m].out, shapes[m].in});
      if (m < kO ? a.qkv_bias : m == kO && a.output_bias) add(prefix + kModuleNames[m] + ".bias", {shapes[m].out});
    }
  }
  return model;
}

// Packed sequences of documents of up to `longest` tokens; a label in three is ignored.
inline Batch random_batch(const Architecture& a, int64_t sequences, int64_t longest, Generator& generator) {
  Batch batch;
  batch.documents = batch.sequences = {0};
  for (int64_t s = 0; s < sequences; ++s) {
    for (int64_t documents = draw(generator, 1, 3); documents > 0; --documents) {
      for (int64_t rows = draw(generator, 1, longest); rows > 0; --rows) {
        batch.tokens.push_back(static_cast<int32_t>(draw(generator, 0, a.vocabulary - 1)));
        batch.labels.push_back(draw(generator, 0, 2) == 0 ? -100
                                                          : static_cast<int32_t>(draw(generator, 0, a.vocabulary - 1)));
      }
      batch.documents.push_back(static_cast<int32_t>(batch.tokens.size()));
    }
    batch.sequences.push_back(static_cast<int32_t>(batch.tokens.size()));
    batch.ordinals.push_back(static_cast<int32_t>(s));
  }
  return batch;
}

inline std::vector<int32_t> random_tokens(const Architecture& a, int64_t count, Generator& generator) {
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(static_cast<int32_t>(draw(generator, 0, a.vocabulary - 1)));
  return tokens;
}

}  // namespace humanizer
