#include "limits.h"

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <tuple>
#include <unordered_map>

#include "emulator.h"
#include "failure.h"
#include "symbol.h"

namespace emulated_cuda {
namespace {

using Key = std::tuple<std::string, int>;  // symbol, capability

// Symbols that other files may use are the same in each; of local ones the file tells them apart.
const std::map<Key, std::map<std::string, KernelLimits>>& compiled() {
  static const auto table = [] {
    std::map<Key, std::map<std::string, KernelLimits>> limits;
    std::ifstream lines(CUDA_KERNELS_TABLE);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with('#')) continue;
      std::istringstream fields(line);
      std::string file, symbol;
      int capability;
      KernelLimits of{};
      if (fields >> file >> symbol >> capability >> of.threads >> of.registers >> of.shared_bytes)
        limits[{symbol, capability}][file] = of;
    }
    return limits;
  }();
  return table;
}

std::unordered_map<const void*, Symbol> symbols;
std::unordered_map<const void*, KernelLimits> given;

const KernelLimits* limits_of(const void* kernel) {
  if (const auto found = given.find(kernel); found != given.end()) return &found->second;
  auto known = symbols.find(kernel);
  if (known == symbols.end()) known = symbols.emplace(kernel, symbol_of(kernel)).first;
  const auto found = compiled().find({known->second.name, architecture().capability});
  if (found == compiled().end()) return nullptr;
  if (known->second.file.empty()) return &found->second.begin()->second;
  const auto of = found->second.find(known->second.file);
  return of == found->second.end() ? nullptr : &of->second;
}

}  // namespace

void set_limits(const void* kernel, const KernelLimits& limits) { given[kernel] = limits; }

void expect_within_limits(const Launch& launch) {
  const KernelLimits* const limits = limits_of(launch.kernel);
  if (!limits) return;
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  if (limits->threads > 0 && threads > limits->threads)
    fail("%u threads, where __launch_bounds__ promises no more than %u", threads, limits->threads);
  // A warp gets its registers in portions of 256.
  const unsigned registers = (limits->registers * 32 + 255) / 256 * 256 * ((threads + 31) / 32);
  if (registers > 65536) fail("%u threads of %u registers; a multiprocessor has 65536", threads, limits->registers);
  const size_t shared = limits->shared_bytes + launch.shared_bytes;
  if (shared > architecture().shared_per_block)
    fail("%zu bytes of shared memory, static and dynamic; a block of compute capability %d.%d has %zu", shared,
         architecture().capability / 10, architecture().capability % 10, architecture().shared_per_block);
}

}  // namespace emulated_cuda
