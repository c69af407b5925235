// What NVIDIA's management library (NVML) tells of the GPU that the CUDA backend computes on. The library comes with
// the driver: it is loaded at the first call, and where it is missing nothing is told.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace humanizer {

// A figure that the library or the GPU does not give is absent.
struct GpuReadings {
  std::optional<double> utilization_percent;  // of the last sample period, 1/6 to 1 s, in which a kernel ran
  std::optional<int64_t> memory_used_bytes, memory_total_bytes;  // of the whole GPU, by anyone
  std::optional<double> power_watts;
  std::optional<double> temperature_celsius;
  std::string problem;  // the first call that failed and why; empty: none did
};

// Throws nothing; nullopt where the library cannot be loaded.
std::optional<GpuReadings> gpu_readings();

// PCI address of the device that the CUDA backend computes on. Empty in an engine for the CPU alone, or where CUDA
// shows no device: then the readings are those of the first GPU that NVML shows.
std::string cuda_bus_id();

}  // namespace humanizer
