#include <cstring>
#include <initializer_list>

#include "error.h"
#include "formats.h"

namespace humanizer {

namespace {

constexpr uint32_t kF32Exponent = 0x7f800000;
constexpr uint16_t kF16Exponent = 0x7c00, kBF16Exponent = 0x7f80;

// An infinity or a NaN has every bit of its exponent set. No early return: the loop is to vectorise.
template <class Word>
bool none_full(const uint8_t* at, int64_t count, Word exponent) {
  Word full = 0;
  for (int64_t i = 0; i < count; ++i) {
    Word word;
    std::memcpy(&word, at + i * static_cast<int64_t>(sizeof(Word)), sizeof(Word));
    full |= static_cast<Word>((word & exponent) == exponent);
  }
  return full == 0;
}

// f16 scales at these offsets of each block.
bool scales_finite(const uint8_t* blocks, int64_t bytes, int64_t block, std::initializer_list<int64_t> scales) {
  for (int64_t at = 0; at < bytes; at += block) {
    for (const int64_t scale : scales) {
      if (!none_full<uint16_t>(blocks + at + scale, 1, kF16Exponent)) return false;
    }
  }
  return true;
}

}  // namespace

bool all_finite(const uint8_t* blocks, int64_t bytes, Format format) {
  const int64_t block = format_size(format).bytes;
  switch (format) {
    case Format::kF32:
      return none_full<uint32_t>(blocks, bytes / 4, kF32Exponent);
    case Format::kF16:
      return none_full<uint16_t>(blocks, bytes / 2, kF16Exponent);
    case Format::kBF16:
      return none_full<uint16_t>(blocks, bytes / 2, kBF16Exponent);
    case Format::kQ8_0:
    case Format::kQ4_0:
      return scales_finite(blocks, bytes, block, {0});
    case Format::kQ4_1:
      return scales_finite(blocks, bytes, block, {0, 2});
    case Format::kQ6_K:
      return scales_finite(blocks, bytes, block, {208});
  }
  throw Error(Code::kInternal, "unknown weight format");
}

}  // namespace humanizer
