// A tiny model of a family trained, evaluated and asked for tokens on a backend; what two backends then have in common.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "../parity/tiny_model.h"
#include "cuda.h"

namespace humanizer::cuda {

struct Family {
  const char* name;
  Architecture architecture;
};

// Sizes that no tile divides: heads of `head_size`, and everything else odd as far as that allows.
std::vector<Family> families(int64_t head_size);

struct Training {
  const Backend* backend;
  Architecture architecture;
  Checkpointing checkpointing = Checkpointing::kSelective;
  int steps = 20;
  int64_t rank = 5;
  Optimizer optimizer = Optimizer::kAdamW;
  int tokens = 6;  // of each generated sequence
  bool keep_steps = true;
  const struct Record* follow = nullptr;  // each step begins with the parameters that this training had there
};

struct Record {
  std::vector<double> losses, evaluation;
  std::vector<std::vector<float>> gradients;   // of each step, flat
  std::vector<std::vector<float>> parameters;  // before each step and at the end
  std::vector<int32_t> tokens;                 // greedily, of two sequences
  std::vector<float> logits;                   // of their last tokens
  std::string not_kept;                        // of all steps' losses
  std::vector<int64_t> waits;  // of the host for the device: by each accumulation and update but the first
};

// A model with its adapter.
class Model {
 public:
  explicit Model(const Training& training);
  const Backend& backend() const { return *training_.backend; }
  Adapter& adapter() { return *adapter_; }
  Batch batch(int64_t sequences = 2) { return random_batch(training_.architecture, sequences, 8, generator_); }
  // One sequence that is one document; every token has a label.
  Batch document(int64_t tokens);
  int64_t peak_bytes() const { return account_->peak; }
  StepLoss accumulate(const Batch& batch, int step) {
    return llama_->accumulate(*adapter_, batch, static_cast<uint32_t>(step));
  }
  UpdateOutcome update(const StepLoss& loss, int step, double rate = 3e-3);
  std::vector<double> evaluate(const Batch& batch);
  std::vector<TextLikelihood> likelihoods(const Batch& batch, bool adapted) {
    return llama_->likelihoods(adapted ? adapter_.get() : nullptr, batch);
  }
  // Three prompts, the first on the adapter.
  std::vector<Turn> sampled_turns();
  void sample(std::vector<Turn>& turns) { llama_->sample(turns); }
  // Two prompts of different lengths, one on the adapter and one on the base, then a token at a time.
  void generate(int tokens, Record& record);
  std::vector<float> download(const float* from) const;
  std::vector<NamedTensor> parameters() const;

 private:
  Training training_;
  Generator generator_{1};
  std::shared_ptr<Account> account_;
  std::atomic<bool> cancelled_{false};
  std::unique_ptr<Llama> llama_;
  std::shared_ptr<Adapter> adapter_;
};

// steps, an evaluation, a generation
Record train(const Training& training);

// The largest over all steps and the adapter's matrices, those of q and k or all others, of |a - b| / |b|, as Frobenius
// norms.
double gradient_error(const Training& training, const Record& a, const Record& b, bool of_scores);
double loss_error(const std::vector<double>& a, const std::vector<double>& b);

void tokens();  // step_tokens.cu

}  // namespace humanizer::cuda
