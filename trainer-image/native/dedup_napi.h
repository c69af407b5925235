#pragma once

#include <napi.h>

namespace humanizer {

// Exports the class NearDuplicates: new (threshold, shingleWords, threads), add(bytes: Uint8Array, ends: Uint32Array):
// Promise<void>, clusters(): Promise<Uint32Array>. The work runs on worker threads, one call at a time per object.
void register_near_duplicates(Napi::Env env, Napi::Object exports);

}  // namespace humanizer
