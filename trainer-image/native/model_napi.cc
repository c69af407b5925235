// Opening a model, what it holds and how long its operations take, ending it.
#include <utility>

#include "cuda.h"
#include "napi_exports.h"
#include "napi_model.h"
#include "napi_values.h"
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
// instructionPath | undefined, whether its operations are timed, whether steps may be kept) -> model
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
  const bool keep_steps = info[8].ToBoolean();
  const auto progress = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[5].As<Napi::Function>()));
  open_models().emplace_back(model);
  // done holds progress too, so that the reference is dropped on the JavaScript thread.
  return submit(
      env, model,
      [model, backend, architecture, sources = std::move(sources), quantization, threads, checkpointing, progress,
       keep_steps] {
        model->llama = std::make_unique<Llama>(
            *backend, model->account, architecture, sources, quantization, threads, checkpointing,
            [&](double fraction) {
              model->send([progress, fraction](Napi::Env js) {
                const Napi::HandleScope scope(js);
                progress->Call({Napi::Number::New(js, fraction)});
              });
            },
            model->cancelled);
        model->llama->keep_steps(keep_steps);
        return 0;
      },
      [model, progress](Napi::Env js, int) { return wrap(js, model); });
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

void cancel(const Napi::CallbackInfo& info) { cancel_operations(handle_of<ModelHandle>(info[0])); }

void close_model(const Napi::CallbackInfo& info) { handle_of<ModelHandle>(info[0])->close(); }

// Before the process exits: a thread must not be inside oneDNN when its kernels are destroyed.
void close_all(const Napi::CallbackInfo&) {
  for (const std::weak_ptr<OpenModel>& model : std::exchange(open_models(), {})) {
    if (const ModelHandle open = model.lock()) open->close();
  }
}

}  // namespace

void register_model(Napi::Env env, Napi::Object exports) {
  exports.Set("loadModel", Napi::Function::New<load_model>(env));
  exports.Set("takeOpTimes", Napi::Function::New<take_op_times_of>(env));
  exports.Set("memory", Napi::Function::New<memory>(env));
  exports.Set("cancel", Napi::Function::New<cancel>(env));
  exports.Set("closeModel", Napi::Function::New<close_model>(env));
  exports.Set("closeAll", Napi::Function::New<close_all>(env));
}

}  // namespace humanizer
