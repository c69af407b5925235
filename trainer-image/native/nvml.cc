#include "nvml.h"

#include <dlfcn.h>

namespace humanizer {
namespace {

constexpr const char* kLibrary = "libnvidia-ml.so.1";

// As NVIDIA's NVML API reference has them (docs.nvidia.com/deploy/nvml-api, Device Structs and Device Queries); these
// functions and structs never change, newer ones get another name.
using Device = struct nvmlDevice_st*;
struct Utilization {
  unsigned int gpu, memory;  // percent
};
struct Memory {
  unsigned long long total, free, used;  // bytes
};
constexpr int kSuccess = 0;         // NVML_SUCCESS of nvmlReturn_t
constexpr int kTemperatureGpu = 0;  // NVML_TEMPERATURE_GPU of nvmlTemperatureSensors_t

// Loaded, initialised and asked for its device once, for the life of the process.
class Nvml {
 public:
  Nvml() : library_(dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
    if (!library_ || !call(problem_, "nvmlInit_v2")) return;
    const std::string bus_id = cuda_bus_id();
    // NVML's numbers are not CUDA's: the address is what both have.
    const bool found = bus_id.empty() ? call(problem_, "nvmlDeviceGetHandleByIndex_v2", 0U, &device_)
                                      : call(problem_, "nvmlDeviceGetHandleByPciBusId_v2", bus_id.c_str(), &device_);
    if (!found) device_ = nullptr;
  }

  std::optional<GpuReadings> read() const {
    if (!library_) return std::nullopt;
    GpuReadings readings;
    readings.problem = problem_;
    if (!device_) return readings;
    std::string& problem = readings.problem;
    if (Utilization share{}; call(problem, "nvmlDeviceGetUtilizationRates", device_, &share)) {
      readings.utilization_percent = share.gpu;
    }
    if (Memory memory{}; call(problem, "nvmlDeviceGetMemoryInfo", device_, &memory)) {
      readings.memory_used_bytes = static_cast<int64_t>(memory.used);
      readings.memory_total_bytes = static_cast<int64_t>(memory.total);
    }
    if (unsigned int milliwatts = 0; call(problem, "nvmlDeviceGetPowerUsage", device_, &milliwatts)) {
      readings.power_watts = milliwatts / 1000.0;
    }
    if (unsigned int celsius = 0; call(problem, "nvmlDeviceGetTemperature", device_, kTemperatureGpu, &celsius)) {
      readings.temperature_celsius = celsius;
    }
    return readings;
  }

 private:
  // False where the function is missing or fails; the first such leaves its words in `problem`. The arguments' types
  // are those of the function.
  template <class... Arguments>
  bool call(std::string& problem, const char* name, Arguments... arguments) const {
    auto* function = reinterpret_cast<int (*)(Arguments...)>(dlsym(library_, name));
    const int status = function ? function(arguments...) : kSuccess;
    if (function && status == kSuccess) return true;
    if (problem.empty()) {
      problem = std::string(name) + ": " + (function ? words_of(status) : std::string("not in ") + kLibrary);
    }
    return false;
  }

  std::string words_of(int status) const {
    auto* words = reinterpret_cast<const char* (*)(int)>(dlsym(library_, "nvmlErrorString"));
    const char* text = words ? words(status) : nullptr;
    return text ? text : "error " + std::to_string(status);
  }

  void* library_;
  Device device_ = nullptr;
  std::string problem_;
};

}  // namespace

std::optional<GpuReadings> gpu_readings() {
  static const Nvml nvml;
  return nvml.read();
}

}  // namespace humanizer
