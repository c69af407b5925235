#include "napi_values.h"

#include <cmath>

#include "error.h"

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
                 boolean(o, "outputBias"),
                 boolean(o, "fusedProjections")};
  if (o.Get("ropeScaling").IsObject()) {
    const auto s = o.Get("ropeScaling").As<Napi::Object>();
    a.rope_scaling = {static_cast<float>(number(s, "factor")), static_cast<float>(number(s, "lowFrequencyFactor")),
                      static_cast<float>(number(s, "highFrequencyFactor")),
                      static_cast<float>(number(s, "originalMaxPositions"))};
  }
  return a;
}

Checkpointing checkpointing_of(const std::string& name) {
  if (name == "None") return Checkpointing::kNone;
  if (name == "Selective") return Checkpointing::kSelective;
  if (name == "Full") return Checkpointing::kFull;
  if (name == "Offload") return Checkpointing::kOffload;
  throw Error(Code::kInvalidArgument,
              "activationCheckpointing is '" + name + "', expected None, Selective, Full or Offload");
}

namespace {

FilePart part_of(const Napi::Object& o, const char* field) {
  const auto part = o.Get(field).As<Napi::Object>();
  return {text(part, "file"), integer(part, "offset"), integer(part, "bytes")};
}

std::optional<Nf4Source> nf4_of(const Napi::Object& o) {
  if (!o.Get("nf4").IsObject()) return std::nullopt;
  const auto parts = o.Get("nf4").As<Napi::Object>();
  Nf4Source source{integer(parts, "blockSize"), part_of(parts, "map"), part_of(parts, "absmax"), false, {}, {}, 0};
  if (!parts.Get("nested").IsObject()) return source;
  const auto nested = parts.Get("nested").As<Napi::Object>();
  source.nested = true;
  source.nested_map = part_of(nested, "map");
  source.nested_absmax = part_of(nested, "absmax");
  source.nested_offset = static_cast<float>(number(nested, "offset"));
  return source;
}

}  // namespace

TensorSource source_of(const Napi::Object& o) {
  const bool permuted = o.Get("unpermuteHeads").IsNumber();
  std::optional<Nf4Source> nf4 = nf4_of(o);
  return {text(o, "name"),
          text(o, "file"),
          nf4 ? Format::kF32 : parse_format(text(o, "dtype")),
          list<int64_t>(o.Get("shape"), [](const Napi::Value& v) { return v.ToNumber().Int64Value(); }),
          integer(o, "offset"),
          integer(o, "bytes"),
          permuted ? integer(o, "unpermuteHeads") : 0,
          std::move(nf4)};
}

LoraConfig lora_config_of(const Napi::Object& o) {
  const int64_t rank = integer(o, "rank");
  const double divisor =
      boolean(o, "rankStabilized") ? std::sqrt(static_cast<double>(rank)) : static_cast<double>(rank);
  return {
      rank,
      static_cast<float>(number(o, "alpha") / divisor),
      static_cast<float>(number(o, "dropout")),
      list<std::string>(o.Get("targetModules"), [](const Napi::Value& v) { return v.ToString().Utf8Value(); }),
      static_cast<uint64_t>(number(o, "seed")),
      o.Get("optimizer").IsString() && text(o, "optimizer") == "AdamW8bit" ? Optimizer::kAdamW8bit : Optimizer::kAdamW};
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

std::vector<NamedMoments> named_moments_of(const Napi::Value& value) {
  return list<NamedMoments>(value, [](const Napi::Value& item) {
    const auto o = item.As<Napi::Object>();
    const auto shape = o.Get("shape").As<Napi::Array>();
    NamedMoments moments{
        text(o, "name"), shape.Get(0u).ToNumber().Int64Value(), shape.Get(1u).ToNumber().Int64Value(), {}, {}, {}};
    if (o.Get("absmax").IsTypedArray()) {
      moments.codes = elements<Napi::Uint8Array, napi_uint8_array>(o.Get("data"));
      moments.absmax = elements<Napi::Float32Array, napi_float32_array>(o.Get("absmax"));
    } else {
      moments.values = elements<Napi::Float32Array, napi_float32_array>(o.Get("data"));
    }
    return moments;
  });
}

namespace {

Napi::Object named(Napi::Env env, const Slot& slot) {
  Napi::Object o = Napi::Object::New(env);
  Napi::Array shape = Napi::Array::New(env, 2);
  shape.Set(0u, static_cast<double>(slot.rows));
  shape.Set(1u, static_cast<double>(slot.cols));
  o.Set("name", slot.name);
  o.Set("shape", shape);
  return o;
}

template <class Array, class T>
Array downloaded(Napi::Env env, const Adapter& adapter, const T* from, size_t count) {
  Array array = Array::New(env, count);
  adapter.memory().download(array.Data(), from, count * sizeof(T));
  return array;
}

}  // namespace

Napi::Value named_moments(Napi::Env env, const Adapter& adapter, const Moments& moments) {
  Napi::Array array = Napi::Array::New(env, adapter.slots().size());
  for (uint32_t i = 0; i < adapter.slots().size(); ++i) {
    const Slot& slot = adapter.slots()[i];
    const auto count = static_cast<size_t>(slot.count());
    Napi::Object o = named(env, slot);
    if (slot.quantized) {
      o.Set("data", downloaded<Napi::Uint8Array>(env, adapter, moments.codes.as<uint8_t>() + slot.moment, count));
      o.Set("absmax", downloaded<Napi::Float32Array>(env, adapter, moments.absmax.as() + slot.block,
                                                     (count + kMomentBlock - 1) / kMomentBlock));
    } else {
      o.Set("data", downloaded<Napi::Float32Array>(env, adapter, moments.values.as() + slot.moment, count));
    }
    array.Set(i, o);
  }
  return array;
}

Napi::Value named_tensors(Napi::Env env, const Adapter& adapter, const float* values) {
  Napi::Array array = Napi::Array::New(env, adapter.slots().size());
  for (uint32_t i = 0; i < adapter.slots().size(); ++i) {
    const Slot& slot = adapter.slots()[i];
    Napi::Object o = named(env, slot);
    o.Set("data",
          downloaded<Napi::Float32Array>(env, adapter, values + slot.offset, static_cast<size_t>(slot.count())));
    array.Set(i, o);
  }
  return array;
}

void read_choice(Turn& turn, const Napi::Object& o) {
  turn.choice =
      TokenChoice{inverse_temperature(number(o, "temperature")),
                  static_cast<int32_t>(std::clamp<int64_t>(integer(o, "alternatives"), -1, kMostAlternatives)),
                  number(o, "topP"),
                  number(o, "random"),
                  0,
                  0};
  const std::vector<int32_t> tokens = int32s(o.Get("tokens"));
  const auto amounts = elements<Napi::Float32Array, napi_float32_array>(o.Get("penalties"));
  for (size_t i = 0; i < std::min(tokens.size(), amounts.size()); ++i)
    turn.penalties.push_back({tokens[i], amounts[i]});
}

Napi::Value sampled_token(Napi::Env env, const Turn& turn) {
  if (!turn.choice) return env.Undefined();
  const SampledToken& token = turn.sampled;
  Napi::Object o = Napi::Object::New(env);
  o.Set("id", token.id);
  o.Set("logit", token.logit);
  if (turn.choice->alternatives >= 0) o.Set("logprob", log_probability(token, token.logit));
  Napi::Array top = Napi::Array::New(env);
  for (int i = 0; i < turn.choice->alternatives && token.top[i] >= 0; ++i) {
    Napi::Object alternative = Napi::Object::New(env);
    alternative.Set("id", token.top[i]);
    alternative.Set("logprob", log_probability(token, token.top_logits[i]));
    top.Set(static_cast<uint32_t>(i), alternative);
  }
  o.Set("top", top);
  return o;
}

}  // namespace humanizer
