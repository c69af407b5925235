// An open model as JavaScript holds it, and how work goes to its thread and its outcome comes back as a promise.
#pragma once

#include <napi.h>

#include <memory>
#include <new>
#include <optional>

#include "device_error.h"
#include "llama.h"
#include "model_thread.h"

namespace humanizer {

inline const char* code_name(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case Code::kOutOfMemory:
      return "OUT_OF_MEMORY";
    case Code::kDataInvalid:
      return "DATA_INVALID";
    case Code::kCancelled:
      return "CANCELLED";
    case Code::kInternal:
      return "INTERNAL";
  }
  return "INTERNAL";
}

struct Failure {
  const char* code;
  std::string message;
};

// The failure of work, or nothing.
template <class Work>
std::optional<Failure> attempt(Work work) {
  try {
    work();
    return std::nullopt;
  } catch (const DeviceUnavailable& error) {
    return Failure{"DEVICE_UNAVAILABLE", error.what()};
  } catch (const DeviceLost& error) {
    return Failure{"DEVICE_LOST", error.what()};
  } catch (const Error& error) {
    return Failure{code_name(error.code), error.what()};
  } catch (const std::bad_alloc&) {
    return Failure{code_name(Code::kOutOfMemory), "out of memory"};
  } catch (const std::exception& error) {
    return Failure{code_name(Code::kInternal), error.what()};
  }
}

inline Napi::Error to_js(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, failure.code));
  return error;
}

template <class Work>
void now_or_throw(Napi::Env env, Work work) {
  if (const std::optional<Failure> failure = attempt(work)) throw to_js(env, *failure);
}

using Delivery = std::function<void(Napi::Env)>;

inline void deliver(Napi::Env env, Napi::Function, std::nullptr_t*, Delivery* delivery) {
  const std::unique_ptr<Delivery> owned(delivery);
  if (env != nullptr) (*owned)(env);
}

using Channel = Napi::TypedThreadSafeFunction<std::nullptr_t, Delivery, deliver>;

// One open model: its thread, and the channel back to the JavaScript thread.
class OpenModel {
 public:
  OpenModel(Napi::Env env, const Memory& memory)
      : channel(Channel::New(env, "humanizer model", 0, 1)), account(std::make_shared<Account>(memory)) {
    channel.Unref(env);
  }
  ~OpenModel() { close(); }

  // Cancels for good and frees the weights. Waits for the layer under way.
  void close() {
    closed = true;
    cancelled = true;
    thread.finish();
    if (!released.exchange(true)) channel.Release();
    llama.reset();
  }

  // Not delivered when the environment is going down. What it holds is then left alone: JavaScript's references and the
  // last one of a model must not be dropped on another thread than JavaScript's.
  void send(Delivery delivery) { channel.NonBlockingCall(new Delivery(std::move(delivery))); }

  Channel channel;
  std::atomic<bool> cancelled{false}, closed{false}, released{false};
  int pending = 0;  // promises; read and written on the JavaScript thread
  std::shared_ptr<Account> account;
  std::unique_ptr<Llama> llama;
  std::mutex running;  // held by an operation, and by accessors on the JavaScript thread that no operation may meet
  ModelThread thread;
};

using ModelHandle = std::shared_ptr<OpenModel>;
using AdapterHandle = std::shared_ptr<Adapter>;
using SequenceHandle = std::shared_ptr<Sequence>;

// What is running ends at its next layer, what is queued never begins; those promises reject. Later calls run.
inline void cancel_operations(const ModelHandle& model) {
  model->cancelled = true;
  model->thread.post([model] {
    model->cancelled = false;
    if (model->closed) model->cancelled = true;
  });
}

template <class Handle>
Napi::Value wrap(Napi::Env env, Handle handle) {
  return Napi::External<Handle>::New(env, new Handle(std::move(handle)), [](Napi::BasicEnv, Handle* h) { delete h; });
}

template <class Handle>
Handle& handle_of(const Napi::Value& value) {
  return *value.As<Napi::External<Handle>>().Data();
}

// Runs work on the model's thread; done makes the promise's value from what work returned, on the JavaScript thread.
template <class Work, class Done>
Napi::Value submit(Napi::Env env, const ModelHandle& model, Work work, Done done) {
  using Result = decltype(work());
  auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  if (model->pending++ == 0) model->channel.Ref(env);
  // Shared, since what a lambda captured of a const variable is const, and moving it would leave a copy behind.
  auto held = std::make_shared<Work>(std::move(work));
  model->thread.post([model = ModelHandle(model), deferred, held = std::move(held), done = std::move(done)]() mutable {
    auto result = std::make_shared<std::optional<Result>>();
    const std::optional<Failure> failure = attempt([&] {
      const std::lock_guard lock(model->running);
      if (model->cancelled)
        throw Error(Code::kCancelled, model->closed ? "the model was closed" : "the operation was cancelled");
      *result = (*held)();
    });
    // The delivery takes all that the job held: JavaScript's thread, not this one, drops the last reference to it.
    OpenModel* raw = model.get();
    raw->send([model = std::move(model), held = std::move(held), deferred = std::move(deferred),
               result = std::move(result), failure, done = std::move(done)](Napi::Env js) {
      const Napi::HandleScope scope(js);
      if (--model->pending == 0 && !model->released) model->channel.Unref(js);
      if (failure) return deferred->Reject(to_js(js, *failure).Value());
      try {
        deferred->Resolve(done(js, **result));
      } catch (const Napi::Error& error) {
        deferred->Reject(error.Value());
      } catch (const std::exception& error) {
        deferred->Reject(to_js(js, {code_name(Code::kInternal), error.what()}).Value());
      }
    });
  });
  return deferred->Promise();
}

}  // namespace humanizer
