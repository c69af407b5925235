// The engine's functions as JavaScript calls them; those of a model take it first. Work goes to the model's thread,
// failures become errors with a code. Each of these exports the functions of one subject.
#pragma once

#include <napi.h>

namespace humanizer {

void register_model(Napi::Env env, Napi::Object exports);
void register_training(Napi::Env env, Napi::Object exports);
void register_generation(Napi::Env env, Napi::Object exports);
void register_tensor(Napi::Env env, Napi::Object exports);
void register_device(Napi::Env env, Napi::Object exports);
void register_csv(Napi::Env env, Napi::Object exports);

}  // namespace humanizer
