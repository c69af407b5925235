// parity_adamw8bit FILE COUNT PARAMETER GRADIENTS STEPS LR DECAY: steps of AdamW in 8 bits on COUNT values that lie in
// FILE from byte PARAMETER on, with STEPS gradients from byte GRADIENTS on. Prints parameter, codes of the first moment
// and of the second, and both's maxima after every step, for one instruction path after the other.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "backend.h"

using namespace humanizer;

namespace {

std::vector<float> part(const char* path, const char* offset, int64_t count) {
  std::ifstream file(path, std::ios::binary);
  std::vector<float> values(static_cast<size_t>(count));
  file.seekg(std::atoll(offset));
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(float)));
  if (!file) std::exit(1);
  return values;
}

template <class T>
void print(const std::vector<T>& values) {
  std::fwrite(values.data(), sizeof(T), values.size(), stdout);
}

}  // namespace

int main(int, char** arguments) {
  const int64_t count = std::atoll(arguments[2]), steps = std::atoll(arguments[5]);
  const auto blocks = static_cast<size_t>((count + kMomentBlock - 1) / kMomentBlock);
  const std::vector<float> start = part(arguments[1], arguments[3], count);
  const std::vector<float> gradients = part(arguments[1], arguments[4], count * steps);
  for (const Backend* backend : cpu_backends()) {
    backend->open_stream(2);
    std::vector<float> parameter = start, first_absmax(blocks), second_absmax(blocks);
    std::vector<uint8_t> first(start.size()), second(start.size());
    for (int64_t step = 1; step <= steps; ++step) {
      std::vector<float> gradient(gradients.begin() + (step - 1) * count, gradients.begin() + step * count);
      const GradientNorm norm{1, 0};
      const AdamwOptions options{std::atof(arguments[6]), 1, 0, 0.9, 0.999, 1e-8, std::atof(arguments[7]), step};
      backend->adamw8bit_update(parameter.data(), gradient.data(),
                                {first.data(), second.data(), first_absmax.data(), second_absmax.data()}, count, &norm,
                                options);
      print(parameter);
      print(first);
      print(second);
      print(first_absmax);
      print(second_absmax);
    }
  }
  return 0;
}
