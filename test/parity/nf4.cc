// parity_nf4 FILE COUNT CODES ABSMAX_CODE ABSMAX_SCALE OFFSET: values of a doubly quantised NF4 tensor of blocks of 64,
// whose parts lie in FILE from these bytes on, as f32 on every instruction path, one path after the other.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "backend.h"

using namespace humanizer;

namespace {

template <class T>
std::vector<T> part(const char* path, const char* offset, int64_t count) {
  std::ifstream file(path, std::ios::binary);
  std::vector<T> values(static_cast<size_t>(count));
  file.seekg(std::atoll(offset));
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!file) std::exit(1);
  return values;
}

}  // namespace

int main(int, char** arguments) {
  const char* file = arguments[1];
  const int64_t count = std::atoll(arguments[2]), block = 64;
  Nf4Tensor tensor{nullptr, nullptr, nullptr, nullptr, 0, count, block};
  auto codes = part<uint8_t>(file, arguments[3], (count + 1) / 2);
  auto absmax_code = part<uint8_t>(file, arguments[4], tensor.blocks());
  auto scale = part<float>(file, arguments[5], (tensor.blocks() + kAbsmaxGroup - 1) / kAbsmaxGroup);
  tensor = {codes.data(), nullptr, absmax_code.data(), scale.data(), part<float>(file, arguments[6], 1)[0],
            count,        block};
  for (const Backend* backend : cpu_backends()) {
    std::vector<float> values(static_cast<size_t>(count));
    backend->nf4_dequantize(values.data(), tensor, 0, count);
    std::fwrite(values.data(), sizeof(float), values.size(), stdout);
  }
  return 0;
}
