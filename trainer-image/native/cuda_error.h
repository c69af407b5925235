// What a refusal of the device means and what to do about it: by CUDA's code, in words for whoever runs the cluster.
#pragma once

#include <cuda_runtime.h>

#include <string>

#include "device_error.h"

namespace humanizer::cuda {

inline constexpr int kOldestDriver = 580;    // that CUDA 13.0 runs on, the oldest of its major version (ADR 17)
inline constexpr int kOldestCapability = 8;  // major, that there are kernels for

// Throws DeviceUnavailable, DeviceLost or Error, naming what to do, the call and CUDA's word.
inline void expect(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // one that is not sticky must not be found again by the next call
  int driver = 0;      // the CUDA version that it speaks; none
  if (cudaDriverGetVersion(&driver) != cudaSuccess) driver = 0;
  const std::string spoken = std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
  const std::string where = std::string(" (") + call + ": " + cudaGetErrorName(status) + ")";
  switch (status) {
    case cudaErrorInsufficientDriver:
    case cudaErrorSystemDriverMismatch:
      if (driver == 0) {
        throw DeviceUnavailable(
            "there is no NVIDIA driver in this container: the pod must ask for nvidia.com/gpu, and its runtime class "
            "must be NVIDIA's where the node does not default to it" +
            where);
      }
      throw DeviceUnavailable("the NVIDIA driver is too old: it speaks CUDA " + spoken + "; expected at least driver " +
                              std::to_string(kOldestDriver) +
                              ", which speaks 13.0: update the node's; a data-centre GPU also runs with its old one "
                              "where NVIDIA's package cuda-compat-13-0 is found before the driver's libcuda.so.1" +
                              where);
    case cudaErrorNoDevice:
      throw DeviceUnavailable(
          "the driver shows no GPU: the pod must ask for nvidia.com/gpu, and the node's device plugin must have one to "
          "give" +
          where);
    case cudaErrorNoKernelImageForDevice:
      throw DeviceUnavailable("this GPU is older than compute capability 8.0, the oldest there are kernels for" +
                              where);
    case cudaErrorMemoryAllocation:
      throw Error(Code::kOutOfMemory, "the GPU's memory is full" + where);
    case cudaErrorECCUncorrectable:
      throw DeviceLost(
          "the GPU's memory has an error that it cannot correct: drain the node and reset the GPU; the run goes on "
          "from "
          "its newest checkpoint" +
          where);
    case cudaErrorDevicesUnavailable:
      throw DeviceLost(
          "the GPU is busy or lost: nvidia-smi shows a process that has it to itself (compute mode), or none, and then "
          "the node's kernel log an Xid; the run goes on from its newest checkpoint in a new pod" +
          where);
    case cudaErrorLaunchFailure:
    case cudaErrorDeviceUninitialized:
      throw DeviceLost(
          "the GPU is lost to this process: see the node's kernel log for its Xid; the run goes on from its newest "
          "checkpoint in a new pod" +
          where);
    default:
      throw Error(Code::kInternal, std::string(cudaGetErrorString(status)) + where);
  }
}

}  // namespace humanizer::cuda
