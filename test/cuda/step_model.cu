#include <algorithm>
#include <array>
#include <cmath>

#include "step_model.h"

namespace humanizer::cuda {

namespace {

const Quantization kNf4{true, 64, true};

LoraConfig lora_of(const Training& t) {
  LoraConfig config{t.rank, 2, 0.05f, {}, 7, t.optimizer};
  for (const ModuleShape& shape : module_shapes(t.architecture)) {
    if (shape.name) config.targets.push_back(shape.name);
  }
  return config;
}

bool behind_softmax(const std::string& tensor) {
  return std::ranges::any_of(std::array{".q_proj.", ".k_proj.", ".qkv_proj."},
                             [&](const char* module) { return tensor.find(module) != std::string::npos; });
}

int32_t largest(const std::vector<float>& logits) {
  return static_cast<int32_t>(std::ranges::max_element(logits) - logits.begin());
}

}  // namespace

std::vector<Family> families(int64_t head_size) {
  const int64_t hidden = 5 * head_size, ffn = 9 * head_size;
  const RopeScaling llama3{32, 1, 4, 64};
  //                          hidden  ffn  layers heads kv  size     vocabulary
  return {{"Llama", {hidden, ffn, 2, 6, 2, head_size, 131, 1e-5f, 10000, llama3, true, false, false, false}},
          {"Qwen2", {hidden, ffn, 2, 4, 1, head_size, 97, 1e-6f, 1e6f, {}, true, true, false, false}},
          {"Mistral", {hidden, ffn, 2, 4, 2, head_size, 77, 1e-5f, 10000, {}, false, false, false, false}},
          {"Phi-3", {hidden, ffn, 2, 3, 3, head_size, 61, 1e-5f, 10000, {}, false, false, false, true}}};
}

Model::Model(const Training& t) : training_(t), account_(std::make_shared<Account>(t.backend->memory)) {
  const TemporaryFile file;
  const ModelBytes model = random_weights(t.architecture, file.path(), generator_);
  file.write(model.bytes);
  llama_ = std::make_unique<Llama>(
      *t.backend, account_, t.architecture, model.sources, kNf4, 1, t.checkpointing, [](double) {}, cancelled_);
  llama_->keep_steps(t.keep_steps);
  adapter_ =
      std::make_shared<Adapter>(*t.backend, account_, lora_of(t), t.architecture.layers, module_shapes(t.architecture));
}

Batch Model::document(int64_t tokens) {
  Batch batch;
  batch.tokens = batch.labels = random_tokens(training_.architecture, tokens, generator_);
  batch.documents = batch.sequences = {0, static_cast<int32_t>(tokens)};
  batch.ordinals = {0};
  return batch;
}

UpdateOutcome Model::update(const StepLoss& loss, int step, double rate) {
  return adapter_->update({rate, 1 / static_cast<double>(loss.label_tokens), 1, 0.9, 0.999, 1e-8, 0.01, step});
}

std::vector<double> Model::evaluate(const Batch& batch) {
  std::vector<double> losses;
  for (const Loss& loss : llama_->evaluate(adapter_.get(), batch)) losses.push_back(loss.nll);
  return losses;
}

void Model::generate(int tokens, Record& record) {
  const Architecture& a = training_.architecture;
  std::vector<Turn> turns;
  for (const auto& adapter : {adapter_, std::shared_ptr<Adapter>()}) {
    const auto sequence = std::make_shared<Sequence>(backend(), account_, adapter, a.layers, a.kv_size(), 200);
    turns.push_back({sequence, random_tokens(a, adapter ? 7 : 3, generator_), {}});
  }
  for (int i = 0; i < tokens; ++i) {
    llama_->generate(turns);
    for (Turn& turn : turns) {
      turn.tokens = {largest(turn.logits)};
      record.tokens.push_back(turn.tokens[0]);
    }
  }
  for (const Turn& turn : turns) record.logits.insert(record.logits.end(), turn.logits.begin(), turn.logits.end());
}

std::vector<Turn> Model::sampled_turns() {
  const Architecture& a = training_.architecture;
  std::vector<Turn> turns(3);
  for (size_t i = 0; i < turns.size(); ++i) {
    turns[i].sequence =
        std::make_shared<Sequence>(backend(), account_, i == 0 ? adapter_ : nullptr, a.layers, a.kv_size(), 200);
    turns[i].tokens = random_tokens(a, 5 + static_cast<int64_t>(i), generator_);
  }
  return turns;
}

std::vector<float> Model::download(const float* from) const {
  std::vector<float> values(static_cast<size_t>(adapter_->count()));
  backend().memory.download(values.data(), from, values.size() * sizeof(float));
  return values;
}

std::vector<NamedTensor> Model::parameters() const {
  const std::vector<float> all = download(adapter_->parameters());
  std::vector<NamedTensor> tensors;
  for (const Slot& slot : adapter_->slots()) {
    tensors.push_back(
        {slot.name, slot.rows, slot.cols, {all.begin() + slot.offset, all.begin() + slot.offset + slot.count()}});
  }
  return tensors;
}

Record train(const Training& t) {
  Model model(t);
  Record record;
  const Batch held_out = model.batch();
  for (int step = 1; step <= t.steps; ++step) {
    if (t.follow) {
      const std::vector<float>& from = t.follow->parameters[static_cast<size_t>(step - 1)];
      t.backend->memory.upload(model.adapter().parameters(), from.data(), from.size() * sizeof(float));
    }
    record.parameters.push_back(model.download(model.adapter().parameters()));
    const Batch batch = model.batch();
    const bool device = &t.backend->memory != &kHostMemory;
    int64_t before = device ? waits() : 0;
    const StepLoss loss = model.accumulate(batch, step);
    if (device && step > 1) record.waits.push_back(waits() - before);
    record.losses.push_back(loss.nll / static_cast<double>(loss.label_tokens));
    record.gradients.push_back(model.download(model.adapter().gradients()));
    before = device ? waits() : 0;
    model.update(loss, step);
    if (device && step > 1) record.waits.push_back(waits() - before);
  }
  record.parameters.push_back(model.download(model.adapter().parameters()));
  record.evaluation = model.evaluate(held_out);
  model.generate(t.tokens, record);
  return record;
}

double gradient_error(const Training& t, const Record& x, const Record& y, bool of_scores) {
  const Adapter shape(cpu_backend(), std::make_shared<Account>(), lora_of(t), t.architecture.layers,
                      module_shapes(t.architecture));
  double largest = 0;
  for (size_t step = 0; step < y.gradients.size(); ++step) {
    for (const Slot& slot : shape.slots()) {
      if (of_scores != behind_softmax(slot.name)) continue;
      double difference = 0, size = 0;
      for (int64_t i = slot.offset; i < slot.offset + slot.count(); ++i) {
        const double b = y.gradients[step][static_cast<size_t>(i)], d = x.gradients[step][static_cast<size_t>(i)] - b;
        difference += d * d;
        size += b * b;
      }
      if (difference > 0) largest = std::max(largest, std::sqrt(difference / size));
    }
  }
  return largest;
}

double loss_error(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (size_t i = 0; i < b.size(); ++i) largest = std::max(largest, std::fabs(a[i] / b[i] - 1));
  return largest;
}

}  // namespace humanizer::cuda
