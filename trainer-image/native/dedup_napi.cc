#include "dedup_napi.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "dedup.h"

namespace humanizer {
namespace {

const char* code_of(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error)) return "OUT_OF_MEMORY";
  if (dynamic_cast<const std::invalid_argument*>(&error)) return "INVALID_ARGUMENT";
  if (const auto* failure = dynamic_cast<const std::system_error*>(&error))
    return failure->code() == std::errc::no_space_on_device ? "ENOSPC" : "EIO";
  return "INTERNAL";
}

Napi::Error coded_error(Napi::Env env, const char* code, const char* message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Set("code", Napi::String::New(env, code));
  return error;
}

class Task : public Napi::AsyncWorker {
 public:
  // `keep` holds the JavaScript values that `work` reads; `done` makes the result on the JavaScript thread.
  Task(Napi::Object keep, std::shared_ptr<bool> busy, std::function<void()> work,
       std::function<Napi::Value(Napi::Env)> done)
      : Napi::AsyncWorker(keep.Env()),
        deferred_(Napi::Promise::Deferred::New(keep.Env())),
        keep_(Napi::Persistent(keep)),
        busy_(std::move(busy)),
        work_(std::move(work)),
        done_(std::move(done)) {
    *busy_ = true;
  }

  Napi::Promise promise() const { return deferred_.Promise(); }

  void Execute() override {
    try {
      work_();
    } catch (const std::exception& error) {
      code_ = code_of(error);
      SetError(error.what());
    }
  }

  void OnOK() override {
    *busy_ = false;
    deferred_.Resolve(done_(Env()));
  }

  void OnError(const Napi::Error& error) override {
    *busy_ = false;
    deferred_.Reject(coded_error(Env(), code_, error.Message().c_str()).Value());
  }

 private:
  Napi::Promise::Deferred deferred_;
  Napi::ObjectReference keep_;
  std::shared_ptr<bool> busy_;
  std::function<void()> work_;
  std::function<Napi::Value(Napi::Env)> done_;
  const char* code_ = "INTERNAL";
};

class NearDuplicatesObject : public Napi::ObjectWrap<NearDuplicatesObject> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "NearDuplicates",
        {InstanceMethod<&NearDuplicatesObject::add>("add"), InstanceMethod<&NearDuplicatesObject::clusters>("clusters"),
         InstanceMethod<&NearDuplicatesObject::spilled>("spilled")});
  }

  explicit NearDuplicatesObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<NearDuplicatesObject>(info) {
    try {
      index_ = std::make_shared<NearDuplicates>(
          info[0].ToNumber().DoubleValue(), info[1].ToNumber().Int32Value(), info[2].ToNumber().Int32Value(),
          static_cast<size_t>(std::max<int64_t>(0, info[3].ToNumber().Int64Value())), info[4].ToString().Utf8Value());
    } catch (const std::exception& error) {
      throw coded_error(info.Env(), code_of(error), error.what());
    }
  }

 private:
  Napi::Value add(const Napi::CallbackInfo& info) {
    refuse_when_busy(info.Env());
    if (!is_array(info[0], napi_uint8_array) || !is_array(info[1], napi_uint32_array))
      throw coded_error(info.Env(), "INVALID_ARGUMENT", "add takes (bytes: Uint8Array, ends: Uint32Array)");
    const auto bytes = info[0].As<Napi::Uint8Array>();
    const auto ends = info[1].As<Napi::Uint32Array>();
    const std::string_view text(reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength());
    const uint32_t* offsets = ends.Data();
    const size_t count = ends.ElementLength();
    return start(
        info, [index = index_, text, offsets, count] { index->add(text, offsets, count); },
        [](Napi::Env env) { return env.Undefined(); });
  }

  Napi::Value clusters(const Napi::CallbackInfo& info) {
    refuse_when_busy(info.Env());
    const auto found = std::make_shared<std::vector<uint32_t>>();
    return start(
        info, [index = index_, found] { *found = index->clusters(); },
        [found](Napi::Env env) {
          auto result = Napi::Uint32Array::New(env, found->size());
          if (!found->empty()) std::memcpy(result.Data(), found->data(), found->size() * sizeof(uint32_t));
          return result;
        });
  }

  Napi::Value spilled(const Napi::CallbackInfo& info) {
    refuse_when_busy(info.Env());
    return Napi::Number::New(info.Env(), static_cast<double>(index_->spilled()));
  }

  Napi::Value start(const Napi::CallbackInfo& info, std::function<void()> work,
                    std::function<Napi::Value(Napi::Env)> done) {
    Napi::Array keep = Napi::Array::New(info.Env());
    for (size_t i = 0; i < info.Length(); i++) keep[static_cast<uint32_t>(i)] = info[i];
    Task* task = new Task(keep, busy_, std::move(work), std::move(done));
    const Napi::Promise promise = task->promise();
    task->Queue();  // deletes itself when done
    return promise;
  }

  void refuse_when_busy(Napi::Env env) const {
    if (*busy_) throw coded_error(env, "INVALID_ARGUMENT", "another call is under way; await it first");
  }

  static bool is_array(const Napi::Value& value, napi_typedarray_type type) {
    return value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == type;
  }

  std::shared_ptr<NearDuplicates> index_;
  std::shared_ptr<bool> busy_ = std::make_shared<bool>(false);
};

}  // namespace

void register_near_duplicates(Napi::Env env, Napi::Object exports) {
  exports.Set("NearDuplicates", NearDuplicatesObject::define(env));
}

}  // namespace humanizer
