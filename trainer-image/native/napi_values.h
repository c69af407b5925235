// JavaScript values to the engine's and back. index.ts has checked types and shapes; what
// would let memory be misread is checked here again.
#pragma once

#include <napi.h>

#include <algorithm>
#include <string>
#include <vector>

#include "llama.h"

namespace humanizer {

inline int64_t integer(const Napi::Object& o, const char* field) { return o.Get(field).ToNumber().Int64Value(); }
inline double number(const Napi::Object& o, const char* field) { return o.Get(field).ToNumber().DoubleValue(); }
inline bool boolean(const Napi::Object& o, const char* field) { return o.Get(field).ToBoolean().Value(); }
inline std::string text(const Napi::Object& o, const char* field) { return o.Get(field).ToString().Utf8Value(); }

[[noreturn]] void refuse_array(Napi::Env env);

template <class Item, class Read>
std::vector<Item> list(const Napi::Value& value, Read read) {
  const auto array = value.As<Napi::Array>();
  std::vector<Item> items;
  for (uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Value item = array[i];
    items.push_back(read(item));
  }
  return items;
}

// A copy of a typed array. As<> does not look at the type, and the memory of another would be read as if it were this
// one's: throws INVALID_ARGUMENT.
template <class Array, napi_typedarray_type type>
auto elements(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) refuse_array(value.Env());
  const auto array = value.As<Array>();
  return std::vector(array.Data(), array.Data() + array.ElementLength());
}
inline std::vector<int32_t> int32s(const Napi::Value& value) {
  return elements<Napi::Int32Array, napi_int32_array>(value);
}

template <class Array, class T>
Array typed_array(Napi::Env env, const T* data, size_t count) {
  Array array = Array::New(env, count);
  std::copy(data, data + count, array.Data());
  return array;
}

Architecture architecture_of(const Napi::Object& o);
// "None", "Selective", "Full" or "Offload"; throws Error{kInvalidArgument} for another.
Checkpointing checkpointing_of(const std::string& name);
TensorSource source_of(const Napi::Object& o);
LoraConfig lora_config_of(const Napi::Object& o);
Batch batch_of(const Napi::Object& o);
// {temperature, topP, random, alternatives, tokens, penalties}
void read_choice(Turn& turn, const Napi::Object& o);
// What the turn chose; undefined where it had nothing to choose.
Napi::Value sampled_token(Napi::Env env, const Turn& turn);
std::vector<NamedTensor> named_tensors_of(const Napi::Value& value);
std::vector<NamedMoments> named_moments_of(const Napi::Value& value);
Napi::Value named_moments(Napi::Env env, const Adapter& adapter, const Moments& moments);
// The parts of one of an adapter's flat arrays, copied.
Napi::Value named_tensors(Napi::Env env, const Adapter& adapter, const float* values);

}  // namespace humanizer
