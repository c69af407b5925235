// Device memory and pinned host memory. A device allocation lies between pages that nobody may touch, its rest filled
// with a mark that is looked at after each kernel; the host may not touch it at all outside of DeviceAccess.
#pragma once

#include <cstddef>

namespace emulated_cuda {

// Fills with what no result may depend on: other bytes under other seeds.
void fill_poison(char* memory, size_t bytes);

// While one lives, device memory can be read and written.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

// Fails unless [address, address + bytes) lies in one live allocation of the device.
void expect_device(const void* address, size_t bytes, const char* what);
bool is_device(const void* address);
bool is_pinned(const void* address, size_t bytes);

// Fails when something was written around an allocation.
void expect_guards_intact();

}  // namespace emulated_cuda
