// Failures that only a device has; the message says what to do.
#pragma once

#include "error.h"

namespace humanizer {

// No driver, one that is too old, no device, or an engine for the CPU alone.
struct DeviceUnavailable : Error {
  explicit DeviceUnavailable(const std::string& message) : Error(Code::kInternal, message) {}
};

// A device that this process can use no more: an error of its memory, or fallen off the bus.
struct DeviceLost : Error {
  explicit DeviceLost(const std::string& message) : Error(Code::kInternal, message) {}
};

// A step that the device could not keep (Backend::begin), and has not begun: asked for again, it runs as it comes.
struct StepNotKept : Error {
  explicit StepNotKept(const std::string& message) : Error(Code::kInternal, message) {}
};

}  // namespace humanizer
