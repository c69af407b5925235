// Single tensors, without a model, on the calling thread's time.
#include "merge.h"
#include "napi_exports.h"
#include "napi_model.h"
#include "napi_values.h"

namespace humanizer {
namespace {

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

}  // namespace

void register_tensor(Napi::Env env, Napi::Object exports) {
  exports.Set("readTensor", Napi::Function::New<read_tensor>(env));
  exports.Set("mergeTensor", Napi::Function::New<merge_tensor>(env));
  exports.Set("quantizeNf4", Napi::Function::New<quantize_nf4>(env));
}

}  // namespace humanizer
