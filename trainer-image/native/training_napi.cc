// Adapters, their steps and what a model makes of given texts.
#include "napi_exports.h"
#include "napi_model.h"
#include "napi_values.h"

namespace humanizer {
namespace {

// (model, config, tensors | null) -> adapter
Napi::Value create_adapter(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  LoraConfig config = lora_config_of(info[1].As<Napi::Object>());
  std::optional<std::vector<NamedTensor>> tensors;
  if (info[2].IsArray()) tensors = named_tensors_of(info[2]);
  return submit(
      info.Env(), model,
      [model, config = std::move(config), tensors = std::move(tensors)] {
        const Architecture& a = model->llama->architecture();
        auto adapter =
            std::make_shared<Adapter>(model->llama->backend(), model->account, config, a.layers, module_shapes(a));
        if (tensors) adapter->assign(adapter->parameters(), *tensors);
        return adapter;
      },
      [](Napi::Env js, const AdapterHandle& adapter) { return wrap(js, adapter); });
}

// (model, adapter, batch, step) -> {nll, labelTokens, nonFinite, notKept: text | undefined}
Napi::Value accumulate(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  return submit(
      info.Env(), model,
      [model, adapter = handle_of<AdapterHandle>(info[1]), batch = batch_of(info[2].As<Napi::Object>()),
       step = info[3].ToNumber().Uint32Value()] { return model->llama->accumulate(*adapter, batch, step); },
      [](Napi::Env js, const StepLoss& loss) -> Napi::Value {
        Napi::Object o = Napi::Object::New(js);
        o.Set("nll", loss.nll);
        o.Set("labelTokens", static_cast<double>(loss.label_tokens));
        if (!loss.non_finite.empty()) o.Set("nonFinite", loss.non_finite);
        if (!loss.not_kept.empty()) o.Set("notKept", loss.not_kept);
        return o;
      });
}

// (model, adapter, options) -> {gradientNorm, finite, nonFinite: text | undefined}
Napi::Value optimizer_step(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  const auto o = info[2].As<Napi::Object>();
  const AdamwOptions options{number(o, "learningRate"), number(o, "gradientScale"), number(o, "maxGradientNorm"),
                             number(o, "beta1"),        number(o, "beta2"),         number(o, "epsilon"),
                             number(o, "weightDecay"),  integer(o, "step")};
  return submit(
      info.Env(), model, [adapter = handle_of<AdapterHandle>(info[1]), options] { return adapter->update(options); },
      [](Napi::Env js, const UpdateOutcome& outcome) -> Napi::Value {
        Napi::Object result = Napi::Object::New(js);
        result.Set("gradientNorm", outcome.norm);
        result.Set("finite", outcome.skip == 0);
        if (!outcome.non_finite.empty()) result.Set("nonFinite", outcome.non_finite);
        return result;
      });
}

// (model, adapter | undefined, batch) -> {nll, labelTokens} per document
Napi::Value evaluate(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  const AdapterHandle adapter = info[1].IsExternal() ? handle_of<AdapterHandle>(info[1]) : nullptr;
  return submit(
      info.Env(), model,
      [model, adapter, batch = batch_of(info[2].As<Napi::Object>())] {
        return model->llama->evaluate(adapter.get(), batch);
      },
      [](Napi::Env js, const std::vector<Loss>& losses) -> Napi::Value {
        auto nll = Napi::Float64Array::New(js, losses.size());
        auto tokens = Napi::Int32Array::New(js, losses.size());
        for (size_t i = 0; i < losses.size(); ++i) {
          nll[i] = losses[i].nll;
          tokens[i] = static_cast<int32_t>(losses[i].label_tokens);
        }
        Napi::Object o = Napi::Object::New(js);
        o.Set("nll", nll);
        o.Set("labelTokens", tokens);
        return o;
      });
}

// (model, adapter | undefined, batch) -> [{logProbability, mean, variance, labelTokens}], one for each document
Napi::Value likelihoods(const Napi::CallbackInfo& info) {
  const ModelHandle model = handle_of<ModelHandle>(info[0]);
  const AdapterHandle adapter = info[1].IsExternal() ? handle_of<AdapterHandle>(info[1]) : nullptr;
  return submit(
      info.Env(), model,
      [model, adapter, batch = batch_of(info[2].As<Napi::Object>())] {
        return model->llama->likelihoods(adapter.get(), batch);
      },
      [](Napi::Env js, const std::vector<TextLikelihood>& texts) -> Napi::Value {
        Napi::Array array = Napi::Array::New(js, texts.size());
        for (uint32_t i = 0; i < texts.size(); ++i) {
          Napi::Object o = Napi::Object::New(js);
          o.Set("logProbability", texts[i].log_probability);
          o.Set("mean", texts[i].mean);
          o.Set("variance", texts[i].variance);
          o.Set("labelTokens", static_cast<double>(texts[i].label_tokens));
          array.Set(i, o);
        }
        return array;
      });
}

// (model, adapter) -> the gradients, when no operation is under way
Napi::Value read_gradients(const Napi::CallbackInfo& info) {
  OpenModel& model = *handle_of<ModelHandle>(info[0]);
  Adapter& adapter = *handle_of<AdapterHandle>(info[1]);
  const std::lock_guard lock(model.running);
  const float* values = nullptr;
  now_or_throw(info.Env(), [&] { values = adapter.gradients(); });
  return named_tensors(info.Env(), adapter, values);
}

// (adapter) -> tensors; waits for an optimizer step at most
Napi::Value read_parameters(const Napi::CallbackInfo& info) {
  Adapter& adapter = *handle_of<AdapterHandle>(info[0]);
  const std::lock_guard lock(adapter.state());
  return named_tensors(info.Env(), adapter, adapter.parameters());
}

const Moments& moments_of(Adapter& adapter, const std::string& which) {
  return which == "firstMoment" ? adapter.first_moments() : adapter.second_moments();
}

// (adapter, 'firstMoment' | 'secondMoment') -> tensors; waits likewise
Napi::Value read_moments(const Napi::CallbackInfo& info) {
  Adapter& adapter = *handle_of<AdapterHandle>(info[0]);
  const std::lock_guard lock(adapter.state());
  const Moments* moments = nullptr;
  now_or_throw(info.Env(), [&] { moments = &moments_of(adapter, info[1].ToString().Utf8Value()); });
  return named_moments(info.Env(), adapter, *moments);
}

// (adapter, 'firstMoment' | 'secondMoment', tensors)
void write_moments(const Napi::CallbackInfo& info) {
  Adapter& adapter = *handle_of<AdapterHandle>(info[0]);
  const std::vector<NamedMoments> tensors = named_moments_of(info[2]);
  const std::lock_guard lock(adapter.state());
  now_or_throw(info.Env(), [&] { adapter.assign(moments_of(adapter, info[1].ToString().Utf8Value()), tensors); });
}

void discard_gradients(const Napi::CallbackInfo& info) {
  OpenModel& model = *handle_of<ModelHandle>(info[0]);
  const std::lock_guard lock(model.running);
  now_or_throw(info.Env(), [&] { handle_of<AdapterHandle>(info[1])->discard_gradients(); });
}

void close_adapter(const Napi::CallbackInfo& info) { handle_of<AdapterHandle>(info[0]).reset(); }

}  // namespace

void register_training(Napi::Env env, Napi::Object exports) {
  exports.Set("createAdapter", Napi::Function::New<create_adapter>(env));
  exports.Set("accumulate", Napi::Function::New<accumulate>(env));
  exports.Set("optimizerStep", Napi::Function::New<optimizer_step>(env));
  exports.Set("evaluate", Napi::Function::New<evaluate>(env));
  exports.Set("likelihoods", Napi::Function::New<likelihoods>(env));
  exports.Set("readGradients", Napi::Function::New<read_gradients>(env));
  exports.Set("readParameters", Napi::Function::New<read_parameters>(env));
  exports.Set("readMoments", Napi::Function::New<read_moments>(env));
  exports.Set("writeMoments", Napi::Function::New<write_moments>(env));
  exports.Set("discardGradients", Napi::Function::New<discard_gradients>(env));
  exports.Set("closeAdapter", Napi::Function::New<close_adapter>(env));
}

}  // namespace humanizer
