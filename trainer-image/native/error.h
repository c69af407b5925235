// Typed failure of the engine. Thrown anywhere below addon.cc, turned into a NativeError of index.ts there and nowhere
// else.
#pragma once

#include <stdexcept>
#include <string>

namespace humanizer {

enum class Code { kInvalidArgument, kOutOfMemory, kDataInvalid, kCancelled, kInternal };

struct Error : std::runtime_error {
  Error(Code c, const std::string& message) : std::runtime_error(message), code(c) {}
  Code code;
};

}  // namespace humanizer
