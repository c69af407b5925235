// The end of a program that does what a device would leave undefined: one sentence on stderr, then exit status 86.
#pragma once

namespace emulated_cuda {

constexpr int kFailureStatus = 86;

[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace emulated_cuda
