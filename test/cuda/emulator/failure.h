// The end of a program that does what a device would leave undefined: one sentence on stderr, then exit status 86.
#pragma once

#include <string>

namespace emulated_cuda {

constexpr int kFailureStatus = 86;

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The function at this address as the program's symbol table calls it, demangled.
std::string function_name(const void* address);

}  // namespace emulated_cuda
