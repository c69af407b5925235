// One result under many orders of threads, blocks and streams, and over many poisons of fresh memory.
#pragma once

#include <emulator/emulator.h>  // or test/gpu/device's

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace humanizer::cuda {

constexpr uint64_t kOrders = 8;

// Runs compute() once under each seed, which allocates, runs kernels and returns what they wrote. "" when all returned
// the same bytes; else which seed differs and where.
template <class Compute>
std::string same_bits(Compute compute, uint64_t orders = kOrders) {
  using Values = decltype(compute());
  Values first;
  std::string problem;
  for (uint64_t seed = 0; seed < orders && problem.empty(); ++seed) {
    emulated_cuda::set_seed(seed);
    const Values values = compute();
    if (seed == 0) {
      first = values;
    } else if (values.size() != first.size()) {
      problem = "seed " + std::to_string(seed) + " gives another number of values";
    } else {
      for (size_t i = 0; i < values.size() && problem.empty(); ++i)
        if (std::memcmp(&values[i], &first[i], sizeof first[i]) != 0)
          problem = "value " + std::to_string(i) + " has other bits under seed " + std::to_string(seed);
    }
  }
  emulated_cuda::set_seed(1);
  return problem;
}

}  // namespace humanizer::cuda
