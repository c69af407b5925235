#include "napi_values.h"

#include <cmath>

namespace humanizer {

void refuse_array(Napi::Env env) {
  Napi::Error error = Napi::Error::New(env, "a typed array is of another type than this argument has");
  error.Set("code", Napi::String::New(env, "INVALID_ARGUMENT"));
  throw error;
}

Architecture architecture_of(const Napi::Object& o) {
  Architecture a{integer(o, "hiddenSize"),
                 integer(o, "intermediateSize"),
                 integer(o, "layers"),
                 integer(o, "heads"),
                 integer(o, "keyValueHeads"),
                 integer(o, "headSize"),
                 integer(o, "vocabularySize"),
                 static_cast<float>(number(o, "rmsNormEpsilon")),
                 static_cast<float>(number(o, "ropeTheta")),
                 {},
                 boolean(o, "tiedEmbeddings"),
                 boolean(o, "qkvBias"),
                 boolean(o, "outputBias")};
  if (o.Get("ropeScaling").IsObject()) {
    const auto s = o.Get("ropeScaling").As<Napi::Object>();
    a.rope_scaling = {static_cast<float>(number(s, "factor")), static_cast<float>(number(s, "lowFrequencyFactor")),
                      static_cast<float>(number(s, "highFrequencyFactor")),
                      static_cast<float>(number(s, "originalMaxPositions"))};
  }
  return a;
}

TensorSource source_of(const Napi::Object& o) {
  const bool permuted = o.Get("unpermuteHeads").IsNumber();
  return {text(o, "name"),
          text(o, "file"),
          parse_format(text(o, "dtype")),
          list<int64_t>(o.Get("shape"), [](const Napi::Value& v) { return v.ToNumber().Int64Value(); }),
          integer(o, "offset"),
          integer(o, "bytes"),
          permuted ? integer(o, "unpermuteHeads") : 0};
}

LoraConfig lora_config_of(const Napi::Object& o) {
  const int64_t rank = integer(o, "rank");
  const double divisor =
      boolean(o, "rankStabilized") ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank);
  return {rank, static_cast<float>(number(o, "alpha") / divisor), static_cast<float>(number(o, "dropout")),
          list<std::string>(o.Get("targetModules"), [](const Napi::Value& v) { return v.ToString().Utf8Value(); }),
          static_cast<uint64_t>(number(o, "seed"))};
}

Batch batch_of(const Napi::Object& o) {
  return {int32s(o.Get("tokens")), int32s(o.Get("labels")), int32s(o.Get("documents")), int32s(o.Get("sequences")),
          int32s(o.Get("sequenceOrdinals"))};
}

std::vector<NamedTensor> named_tensors_of(const Napi::Value& value) {
  return list<NamedTensor>(value, [](const Napi::Value& item) {
    const auto o = item.As<Napi::Object>();
    const auto shape = o.Get("shape").As<Napi::Array>();
    return NamedTensor{text(o, "name"), shape.Get(0u).ToNumber().Int64Value(), shape.Get(1u).ToNumber().Int64Value(),
                       elements<Napi::Float32Array, napi_float32_array>(o.Get("data"))};
  });
}

Napi::Value named_tensors(Napi::Env env, const Adapter& adapter, const float* values) {
  Napi::Array array = Napi::Array::New(env, adapter.slots().size());
  for (uint32_t i = 0; i < adapter.slots().size(); ++i) {
    const Slot& slot = adapter.slots()[i];
    Napi::Object o = Napi::Object::New(env);
    Napi::Array shape = Napi::Array::New(env, 2);
    shape.Set(0u, static_cast<double>(slot.rows));
    shape.Set(1u, static_cast<double>(slot.cols));
    o.Set("name", slot.name);
    o.Set("shape", shape);
    o.Set("data",
          typed_array<Napi::Float32Array>(env, values + slot.offset, static_cast<size_t>(slot.rows * slot.cols)));
    array.Set(i, o);
  }
  return array;
}

}  // namespace humanizer
