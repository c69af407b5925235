#include "failure.h"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>

#include "running.h"

namespace emulated_cuda {

void fail(const char* format, ...) {
  std::fflush(stdout);
  std::fputs("cuda: ", stderr);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fprintf(stderr, "%s\n", where().c_str());
  std::fflush(stderr);
  _exit(kFailureStatus);
}

}  // namespace emulated_cuda
