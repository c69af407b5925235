// Sequences and the passes that make them longer.
#include "napi_exports.h"
#include "napi_model.h"
#include "napi_values.h"

namespace humanizer {
namespace {

// (model, adapter | undefined, maxTokens, promptTokens) -> sequence, at once
Napi::Value open_sequence(const Napi::CallbackInfo& info) {
  const OpenModel& model = *handle_of<ModelHandle>(info[0]);
  const Architecture& a = model.llama->architecture();
  const AdapterHandle adapter = info[1].IsExternal() ? handle_of<AdapterHandle>(info[1]) : nullptr;
  return wrap(info.Env(),
              std::make_shared<Sequence>(model.llama->backend(), model.account, adapter, a.layers, a.kv_size(),
                                         info[2].ToNumber().Int64Value(), info[3].ToNumber().Int64Value()));
}

// (model, sequences[], tokens[]) -> logits[]
Napi::Value forward(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  const auto sequences =
      list<SequenceHandle>(info[1], [](const Napi::Value& v) { return handle_of<SequenceHandle>(v); });
  const auto tokens = list<std::vector<int32_t>>(info[2], int32s);
  return submit(
      info.Env(), model,
      [model, sequences, tokens] {
        std::vector<Turn> turns;
        for (size_t i = 0; i < sequences.size(); ++i) turns.push_back({sequences[i], tokens[i], {}});
        model->llama->generate(turns);
        return turns;
      },
      [](Napi::Env js, const std::vector<Turn>& turns) -> Napi::Value {
        Napi::Array array = Napi::Array::New(js, turns.size());
        for (uint32_t i = 0; i < turns.size(); ++i) {
          array.Set(i, typed_array<Napi::Float32Array>(js, turns[i].logits.data(), turns[i].logits.size()));
        }
        return array;
      });
}

// (model, sequences[], tokens[], choices[]) -> tokens[]
Napi::Value sample(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  const auto sequences =
      list<SequenceHandle>(info[1], [](const Napi::Value& v) { return handle_of<SequenceHandle>(v); });
  const auto tokens = list<std::vector<int32_t>>(info[2], int32s);
  std::vector<Turn> turns;
  const auto choices = info[3].As<Napi::Array>();
  for (uint32_t i = 0; i < sequences.size(); ++i) {
    turns.push_back({sequences[i], tokens[i], {}});
    const Napi::Value choice = choices[i];
    if (choice.IsObject()) read_choice(turns[i], choice.As<Napi::Object>());
  }
  return submit(
      info.Env(), model,
      [model, turns]() mutable {
        model->llama->sample(turns);
        return turns;
      },
      [](Napi::Env js, const std::vector<Turn>& sampled) -> Napi::Value {
        Napi::Array array = Napi::Array::New(js, sampled.size());
        for (uint32_t i = 0; i < sampled.size(); ++i) array.Set(i, sampled_token(js, sampled[i]));
        return array;
      });
}

void close_sequence(const Napi::CallbackInfo& info) { handle_of<SequenceHandle>(info[0]).reset(); }

}  // namespace

void register_generation(Napi::Env env, Napi::Object exports) {
  exports.Set("openSequence", Napi::Function::New<open_sequence>(env));
  exports.Set("forward", Napi::Function::New<forward>(env));
  exports.Set("sample", Napi::Function::New<sample>(env));
  exports.Set("closeSequence", Napi::Function::New<close_sequence>(env));
}

}  // namespace humanizer
