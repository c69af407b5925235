// JavaScript values to the engine's and back. index.ts has checked types and shapes.
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

inline std::vector<int32_t> int32s(const Napi::Value& value) {
  const auto array = value.As<Napi::Int32Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

template <class Array, class T>
Array typed_array(Napi::Env env, const T* data, size_t count) {
  Array array = Array::New(env, count);
  std::copy(data, data + count, array.Data());
  return array;
}

Architecture architecture_of(const Napi::Object& o);
TensorSource source_of(const Napi::Object& o);
LoraConfig lora_config_of(const Napi::Object& o);
Batch batch_of(const Napi::Object& o);
std::vector<NamedTensor> named_tensors_of(const Napi::Value& value);
// The parts of one of an adapter's flat arrays, copied.
Napi::Value named_tensors(Napi::Env env, const Adapter& adapter, const float* values);

}  // namespace humanizer
