// The engine's functions as JavaScript calls them; each takes the model first. Work goes to the model's thread,
// failures become errors with a code. Only this file, its two parts (napi_model.h, napi_values) and dedup_napi know
// napi.h.
#include <dnnl.h>
#include <napi.h>

#include <utility>

#include "cuda.h"
#include "dedup_napi.h"
#include "merge.h"
#include "napi_model.h"
#include "napi_values.h"
#include "nvml.h"
#include "timed_backend.h"

namespace humanizer {
namespace {

// Every model that was loaded and may still be open. Used on the JavaScript thread only.
std::vector<std::weak_ptr<OpenModel>>& open_models() {
  static std::vector<std::weak_ptr<OpenModel>> models;
  return models;
}

// "cuda", "cuda_f32" or an instruction path of this processor; undefined: the widest whose products are f32.
const Backend& backend_of(const Napi::Value& name) {
  if (!name.IsString()) return cpu_backend();
  const std::string path = name.ToString().Utf8Value();
  return path == "cuda" ? cuda_backend() : path == "cuda_f32" ? cuda_f32_backend() : cpu_backend(path);
}

// (architecture, tensors, {nf4, blockSize, doubleQuantization}, threads, activationCheckpointing, onProgress,
// instructionPath | undefined, whether its operations are timed) -> model
Napi::Value load_model(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Architecture architecture{};
  Checkpointing checkpointing{};
  const Backend* backend = nullptr;
  std::vector<TensorSource> sources;
  now_or_throw(env, [&] {
    architecture = architecture_of(info[0].As<Napi::Object>());
    checkpointing = checkpointing_of(info[4].ToString().Utf8Value());
    backend = &backend_of(info[6]);
    if (info[7].ToBoolean()) backend = &timed(*backend);
    sources = list<TensorSource>(info[1], [](const Napi::Value& v) { return source_of(v.As<Napi::Object>()); });
  });
  const auto model = std::make_shared<OpenModel>(env, backend->memory);
  const auto o = info[2].As<Napi::Object>();
  const Quantization quantization{boolean(o, "nf4"), integer(o, "blockSize"), boolean(o, "doubleQuantization")};
  const int threads = info[3].ToNumber().Int32Value();
  const auto progress = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[5].As<Napi::Function>()));
  open_models().emplace_back(model);
  // done holds progress too, so that the reference is dropped on the JavaScript thread.
  return submit(
      env, model,
      [model, backend, architecture, sources = std::move(sources), quantization, threads, checkpointing, progress] {
        model->llama = std::make_unique<Llama>(
            *backend, model->account, architecture, sources, quantization, threads, checkpointing,
            [&](double fraction) {
              model->send([progress, fraction](Napi::Env js) {
                const Napi::HandleScope scope(js);
                progress->Call({Napi::Number::New(js, fraction)});
              });
            },
            model->cancelled);
        return 0;
      },
      [model, progress](Napi::Env js, int) { return wrap(js, model); });
}

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

// (model, adapter, batch, step) -> {nll, labelTokens, nonFinite: text | undefined}
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

// (model) -> [{op, calls, seconds, operations}] since the last time, when no operation is under way
Napi::Value take_op_times_of(const Napi::CallbackInfo& info) {
  const std::lock_guard lock(handle_of<ModelHandle>(info[0])->running);
  const std::vector<OpTime> times = take_op_times();
  Napi::Array array = Napi::Array::New(info.Env(), times.size());
  for (uint32_t i = 0; i < times.size(); ++i) {
    Napi::Object o = Napi::Object::New(info.Env());
    o.Set("op", times[i].op);
    o.Set("calls", static_cast<double>(times[i].calls));
    o.Set("seconds", times[i].seconds);
    o.Set("operations", times[i].operations);
    array.Set(i, o);
  }
  return array;
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const Account& account = *handle_of<ModelHandle>(info[0])->account;
  Napi::Object o = Napi::Object::New(info.Env());
  o.Set("residentBytes", static_cast<double>(account.resident.load()));
  o.Set("peakBytes", static_cast<double>(account.peak.load()));
  return o;
}

// Before the process exits: a thread must not be inside oneDNN when its kernels are destroyed.
void close_all(const Napi::CallbackInfo&) {
  for (const std::weak_ptr<OpenModel>& model : std::exchange(open_models(), {})) {
    if (const ModelHandle open = model.lock()) open->close();
  }
}

void cancel(const Napi::CallbackInfo& info) { cancel_operations(handle_of<ModelHandle>(info[0])); }
void close_model(const Napi::CallbackInfo& info) { handle_of<ModelHandle>(info[0])->close(); }
void close_adapter(const Napi::CallbackInfo& info) { handle_of<AdapterHandle>(info[0]).reset(); }
void close_sequence(const Napi::CallbackInfo& info) { handle_of<SequenceHandle>(info[0]).reset(); }

// (tensor) -> its values as f32, on this thread's time: for merging and for tests
Napi::Value read_tensor(const Napi::CallbackInfo& info) {
  std::vector<float> values;
  now_or_throw(info.Env(), [&] { values = read_values(cpu_backend(), source_of(info[0].As<Napi::Object>())); });
  return typed_array<Napi::Float32Array>(info.Env(), values.data(), values.size());
}

// (tensor, a, b, rank, scale) -> the merged tensor's bytes, on this thread's time
Napi::Value merge_tensor(const Napi::CallbackInfo& info) {
  std::vector<uint8_t> bytes;
  const auto a = info[1].As<Napi::Float32Array>(), b = info[2].As<Napi::Float32Array>();
  const LoraWeights lora{a.Data(), b.Data(), info[3].ToNumber().Int64Value(), info[4].ToNumber().FloatValue()};
  now_or_throw(info.Env(), [&] { bytes = merge(cpu_backend(), source_of(info[0].As<Napi::Object>()), lora); });
  return typed_array<Napi::Uint8Array>(info.Env(), bytes.data(), bytes.size());
}

// (values, blockSize) -> {codes, absmax, absmaxCode, absmaxScale, offset}
Napi::Value quantize_nf4(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto values = info[0].As<Napi::Float32Array>();
  const auto count = static_cast<int64_t>(values.ElementLength()), block = info[1].ToNumber().Int64Value();
  const auto blocks = static_cast<size_t>((count + block - 1) / block);
  std::vector<uint8_t> codes(static_cast<size_t>((count + 1) / 2)), absmax_code(blocks);
  std::vector<float> absmax(blocks), absmax_scale((blocks + kAbsmaxGroup - 1) / kAbsmaxGroup);
  cpu_backend().nf4_quantize(codes.data(), absmax.data(), values.Data(), count, block);
  const float offset = cpu_backend().nf4_quantize_absmax(absmax_code.data(), absmax_scale.data(), absmax.data(),
                                                         static_cast<int64_t>(blocks));
  Napi::Object o = Napi::Object::New(env);
  o.Set("codes", typed_array<Napi::Uint8Array>(env, codes.data(), codes.size()));
  o.Set("absmax", typed_array<Napi::Float32Array>(env, absmax.data(), absmax.size()));
  o.Set("absmaxCode", typed_array<Napi::Uint8Array>(env, absmax_code.data(), absmax_code.size()));
  o.Set("absmaxScale", typed_array<Napi::Float32Array>(env, absmax_scale.data(), absmax_scale.size()));
  o.Set("offset", offset);
  return o;
}

Napi::Value engine_info(const Napi::CallbackInfo& info) {
  const dnnl_version_t* version = dnnl_version();
  Napi::Object o = Napi::Object::New(info.Env());
  o.Set("instructionPath", cpu_backend().instruction_path);
  const std::vector<const Backend*> backends = cpu_backends();
  Napi::Array paths = Napi::Array::New(info.Env(), backends.size());
  for (uint32_t i = 0; i < backends.size(); ++i) paths.Set(i, backends[i]->instruction_path);
  o.Set("cuda", built_with_cuda());
  o.Set("instructionPaths", paths);
  o.Set("oneDnnVersion",
        std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch));
  o.Set("compiler", "g++ " __VERSION__);
  return o;
}

Napi::Value memory_of_device(const Napi::CallbackInfo& info) {
  DeviceMemory memory{};
  now_or_throw(info.Env(), [&] { memory = device_memory(); });
  Napi::Object o = Napi::Object::New(info.Env());
  o.Set("freeBytes", static_cast<double>(memory.free));
  o.Set("totalBytes", static_cast<double>(memory.total));
  return o;
}

// () -> what is known of the GPU | undefined
Napi::Value readings_of_gpu(const Napi::CallbackInfo& info) {
  const std::optional<GpuReadings> readings = gpu_readings();
  if (!readings) return info.Env().Undefined();
  Napi::Object o = Napi::Object::New(info.Env());
  const auto set = [&](const char* field, const auto& figure) {
    if (figure) o.Set(field, static_cast<double>(*figure));
  };
  set("utilizationPercent", readings->utilization_percent);
  set("memoryUsedBytes", readings->memory_used_bytes);
  set("memoryTotalBytes", readings->memory_total_bytes);
  set("powerWatts", readings->power_watts);
  set("temperatureCelsius", readings->temperature_celsius);
  if (!readings->problem.empty()) o.Set("problem", readings->problem);
  return o;
}

Napi::Object exports_of(Napi::Env env, Napi::Object exports) {
  exports.Set("loadModel", Napi::Function::New<load_model>(env));
  exports.Set("createAdapter", Napi::Function::New<create_adapter>(env));
  exports.Set("accumulate", Napi::Function::New<accumulate>(env));
  exports.Set("optimizerStep", Napi::Function::New<optimizer_step>(env));
  exports.Set("evaluate", Napi::Function::New<evaluate>(env));
  exports.Set("likelihoods", Napi::Function::New<likelihoods>(env));
  exports.Set("openSequence", Napi::Function::New<open_sequence>(env));
  exports.Set("forward", Napi::Function::New<forward>(env));
  exports.Set("readGradients", Napi::Function::New<read_gradients>(env));
  exports.Set("readParameters", Napi::Function::New<read_parameters>(env));
  exports.Set("readMoments", Napi::Function::New<read_moments>(env));
  exports.Set("writeMoments", Napi::Function::New<write_moments>(env));
  exports.Set("discardGradients", Napi::Function::New<discard_gradients>(env));
  exports.Set("takeOpTimes", Napi::Function::New<take_op_times_of>(env));
  exports.Set("memory", Napi::Function::New<memory>(env));
  exports.Set("cancel", Napi::Function::New<cancel>(env));
  exports.Set("closeAll", Napi::Function::New<close_all>(env));
  exports.Set("closeModel", Napi::Function::New<close_model>(env));
  exports.Set("closeAdapter", Napi::Function::New<close_adapter>(env));
  exports.Set("closeSequence", Napi::Function::New<close_sequence>(env));
  exports.Set("readTensor", Napi::Function::New<read_tensor>(env));
  exports.Set("mergeTensor", Napi::Function::New<merge_tensor>(env));
  exports.Set("quantizeNf4", Napi::Function::New<quantize_nf4>(env));
  exports.Set("engineInfo", Napi::Function::New<engine_info>(env));
  exports.Set("deviceMemory", Napi::Function::New<memory_of_device>(env));
  exports.Set("gpuReadings", Napi::Function::New<readings_of_gpu>(env));
  register_near_duplicates(env, exports);
  return exports;
}

NODE_API_MODULE(trainer_native, exports_of)

}  // namespace
}  // namespace humanizer
