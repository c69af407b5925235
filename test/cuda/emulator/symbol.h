// Names of the program's functions.
#pragma once

#include <string>

namespace emulated_cuda {

struct Symbol {
  std::string file;  // that defines it, such as "rmsnorm.cu"; "" for one that other files may use
  std::string name;  // mangled; "" when there is none at the address
};
Symbol symbol_of(const void* address);
std::string demangled(const std::string& name);

}  // namespace emulated_cuda
