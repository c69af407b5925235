// The addon. Only this file, the *_napi.cc, napi_model.h and napi_values know napi.h.
#include "dedup_napi.h"
#include "napi_exports.h"

namespace humanizer {
namespace {

Napi::Object exports_of(Napi::Env env, Napi::Object exports) {
  register_model(env, exports);
  register_training(env, exports);
  register_generation(env, exports);
  register_tensor(env, exports);
  register_device(env, exports);
  register_csv(env, exports);
  register_near_duplicates(env, exports);
  return exports;
}

NODE_API_MODULE(trainer_native, exports_of)

}  // namespace
}  // namespace humanizer
