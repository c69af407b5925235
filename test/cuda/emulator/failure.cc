#include "failure.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

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

// The program's own symbol table: kernels are static functions, which the dynamic linker does not know.
std::string function_name(const void* address) {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> image(std::istreambuf_iterator<char>(file), {});
  uintptr_t base = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* base) {
        *static_cast<uintptr_t*>(base) = info->dlpi_addr;
        return 1;  // the first is the program
      },
      &base);
  const auto* header = reinterpret_cast<const Elf64_Ehdr*>(image.data());
  const auto* sections = reinterpret_cast<const Elf64_Shdr*>(image.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const char* names = image.data() + sections[sections[i].sh_link].sh_offset;
    const auto* symbols = reinterpret_cast<const Elf64_Sym*>(image.data() + sections[i].sh_offset);
    for (size_t s = 0; s < sections[i].sh_size / sizeof(Elf64_Sym); ++s) {
      if (symbols[s].st_value + base != reinterpret_cast<uintptr_t>(address)) continue;
      if (ELF64_ST_TYPE(symbols[s].st_info) != STT_FUNC) continue;
      int status = 0;
      char* demangled = abi::__cxa_demangle(names + symbols[s].st_name, nullptr, nullptr, &status);
      std::string name = status == 0 ? demangled : names + symbols[s].st_name;
      std::free(demangled);
      return name;
    }
  }
  return "a kernel without a name";
}

}  // namespace emulated_cuda
