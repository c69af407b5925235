// Weight formats as files hold them. A row of a tensor is a whole number of blocks.
//   F32, F16, BF16   one value
//   Q8_0             32 values: f16 d, i8 q[32]                      d * q
//   Q4_0             32 values: f16 d, u8 q[16]                      d * (nibble - 8);  low nibbles first, then high
//   Q4_1             32 values: f16 d, f16 m, u8 q[16]               d * nibble + m
//   Q6_K             256 values: u8 low[128], u8 high[64], i8 scale[16], f16 d     d * scale * (q - 32)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace humanizer {

enum class Format : uint8_t { kF32, kF16, kBF16, kQ8_0, kQ4_0, kQ4_1, kQ6_K };

struct FormatSize {
  int64_t values;  // in one block
  int64_t bytes;   // of one block
};
FormatSize format_size(Format format);
// Throws Error{kInvalidArgument} for a name that is not one of ours.
Format parse_format(std::string_view name);

// Whether no value of these whole blocks is an infinity or a NaN: blocks of integers have none when their scales are
// finite.
bool all_finite(const uint8_t* blocks, int64_t bytes, Format format);

// out[0..count) = the values of count / values blocks. count is a multiple of the block's values.
using DecodeOp = void(float* out, const uint8_t* blocks, int64_t count, Format format);

}  // namespace humanizer
