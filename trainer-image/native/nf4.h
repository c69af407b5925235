// NF4 as bitsandbytes has it (Dettmers et al., 2023), on the flattened row-major weight:
//   absmax[b] = max |x| of block b, not finite when an x is not;  n = x * (1 / absmax);  code = number of thresholds
//   below n (a tie goes down) byte i = code[2i] << 4 | code[2i+1], the one beyond an odd count that of 0;  x' =
//   kNf4Code[code] * absmax
// Double quantisation stores absmax in 8 bits: offset = mean(absmax); per 256 blocks scale = max |absmax - offset|;
//   q = nearest of kDynamicCode to (absmax - offset) / scale;  absmax' = kDynamicCode[q] * scale + offset
// A block of zeros has code 7 (0.0) throughout, as on bitsandbytes' CPU path.
#pragma once

#include <cstddef>
#include <cstdint>

namespace humanizer {

extern const float kNf4Code[16];
extern const float kNf4Threshold[15];
extern const float kDynamicCode[256];  // signed dynamic map, ascending

inline constexpr int64_t kAbsmaxGroup = 256;  // blocks that share a second-level scale

// Views of one quantised tensor. Exactly one of absmax (plain) and absmax_code (double) is set.
struct Nf4Tensor {
  uint8_t* codes;        // (count + 1) / 2
  float* absmax;         // blocks, or null
  uint8_t* absmax_code;  // blocks, or null
  float* absmax_scale;   // ceil(blocks / 256), with absmax_code
  float offset;          // with absmax_code
  int64_t count, block;  // block is even
  int64_t blocks() const { return (count + block - 1) / block; }
};

// codes and absmax (plain, f32, [blocks]) of values.
using Nf4QuantizeOp = void(uint8_t* codes, float* absmax, const float* values, int64_t count, int64_t block);
// The second level. Returns the offset.
using Nf4QuantizeAbsmaxOp = float(uint8_t* code, float* scale, const float* absmax, int64_t blocks);
// out[0..count) = x'[begin..begin + count). begin is a multiple of the block.
using Nf4DequantizeOp = void(float* out, const Nf4Tensor& tensor, int64_t begin, int64_t count);

}  // namespace humanizer
