// What runs now: for sentences about what went wrong.
#pragma once

#include <string>

namespace emulated_cuda {

// "" on the host; in a kernel " (kernel(float*), block 3,0,0, thread 17,0,0)".
std::string where();

// The kernel whose blocks run, or null.
void set_running_kernel(const void* kernel);

}  // namespace emulated_cuda
