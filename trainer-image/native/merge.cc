#include "merge.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "error.h"

namespace humanizer {

namespace {

uint16_t to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Finite x. Below 2^-14 an f16 is a whole number of 2^-24; adding a power of two whose last bit is the last that stays
// rounds to even in f32's own rounding.
uint16_t to_f16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude < 0x38800000) {
    const float steps = std::bit_cast<float>(magnitude) * 0x1p24f + 0x1p23f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(steps) & 0x7fffff));
  }
  const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  const uint32_t half = (rounded - 0x38000000) >> 13;
  return static_cast<uint16_t>(sign | (half < 0x7c00 ? half : 0x7c00));
}

}  // namespace

std::vector<uint8_t> merge(const Backend& backend, const TensorSource& source, const LoraWeights& lora) {
  if (source.nf4 || source.shape.size() != 2 || format_size(source.format).values != 1) {
    throw Error(Code::kDataInvalid, "tensor " + source.name + ": expected a matrix in F32, F16 or BF16 to merge into");
  }
  std::vector<float> merged = read_values(backend, source);
  const int64_t out = source.shape[0], in = source.shape[1];
  std::vector<float> delta(merged.size());
  matmul(dense(delta.data(), out, in), dense(lora.b, out, lora.rank), dense(lora.a, lora.rank, in), Transpose::kNN, 1,
         0);
  for (size_t i = 0; i < merged.size(); ++i) merged[i] += lora.scale * delta[i];

  std::vector<uint8_t> bytes(static_cast<size_t>(source.bytes));
  if (source.format == Format::kF32) {
    std::memcpy(bytes.data(), merged.data(), bytes.size());
  } else {
    const auto narrow = source.format == Format::kF16 ? to_f16 : to_bf16;
    for (size_t i = 0; i < merged.size(); ++i) {
      const uint16_t half = narrow(merged[i]);
      std::memcpy(bytes.data() + 2 * i, &half, 2);
    }
  }
  if (!all_finite(bytes.data(), source.bytes, source.format)) {
    throw Error(Code::kDataInvalid, "tensor " + source.name + ": a merged value is too large for the type of the base");
  }
  return bytes;
}

}  // namespace humanizer
