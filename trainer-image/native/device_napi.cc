// What computes: instruction paths, libraries, the GPU.
#include <dnnl.h>

#include <string>
#include <vector>

#include "cuda.h"
#include "napi_exports.h"
#include "napi_model.h"
#include "nvml.h"

namespace humanizer {
namespace {

Napi::Value engine_info(const Napi::CallbackInfo& info) {
  const dnnl_version_t* version = dnnl_version();
  Napi::Object o = Napi::Object::New(info.Env());
  o.Set("instructionPath", cpu_backend().instruction_path);
  const std::vector<const Backend*> backends = cpu_backends();
  Napi::Array paths = Napi::Array::New(info.Env(), backends.size());
  for (uint32_t i = 0; i < backends.size(); ++i) paths.Set(i, backends[i]->instruction_path);
  o.Set("cuda", built_with_cuda());
  o.Set("instructionPaths", paths);
  o.Set("oneDnnVersion",
        std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch));
  o.Set("compiler", "g++ " __VERSION__);
  o.Set("arithmetic", 2);  // counts the changes that give a run other bits: 2, dropout draws 16 bits a value
  return o;
}

Napi::Value memory_of_device(const Napi::CallbackInfo& info) {
  DeviceMemory memory{};
  now_or_throw(info.Env(), [&] { memory = device_memory(); });
  Napi::Object o = Napi::Object::New(info.Env());
  o.Set("name", memory.name);
  o.Set("freeBytes", static_cast<double>(memory.free));
  o.Set("totalBytes", static_cast<double>(memory.total));
  return o;
}

// () -> what is known of the GPU | undefined
Napi::Value readings_of_gpu(const Napi::CallbackInfo& info) {
  const std::optional<GpuReadings> readings = gpu_readings();
  if (!readings) return info.Env().Undefined();
  Napi::Object o = Napi::Object::New(info.Env());
  const auto set = [&](const char* field, const auto& figure) {
    if (figure) o.Set(field, static_cast<double>(*figure));
  };
  set("utilizationPercent", readings->utilization_percent);
  set("memoryUsedBytes", readings->memory_used_bytes);
  set("memoryTotalBytes", readings->memory_total_bytes);
  set("powerWatts", readings->power_watts);
  set("temperatureCelsius", readings->temperature_celsius);
  if (!readings->problem.empty()) o.Set("problem", readings->problem);
  return o;
}

}  // namespace

void register_device(Napi::Env env, Napi::Object exports) {
  exports.Set("engineInfo", Napi::Function::New<engine_info>(env));
  exports.Set("deviceMemory", Napi::Function::New<memory_of_device>(env));
  exports.Set("gpuReadings", Napi::Function::New<readings_of_gpu>(env));
}

}  // namespace humanizer
