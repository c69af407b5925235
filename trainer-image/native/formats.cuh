// One value of a tensor in a file's format (formats.h), with the roundings of formats.cc.
#pragma once

#include "device.cuh"
#include "formats.h"

namespace humanizer::cuda {

// Blocks lie at any even address.
__device__ inline uint32_t load16(const uint8_t* at) { return *reinterpret_cast<const uint16_t*>(at); }

__device__ inline float from_f16(uint32_t h) {
  const uint32_t magnitude = (h & 0x7fff) << 13;
  const uint32_t finite = __float_as_uint(mul(__uint_as_float(magnitude), 0x1p112f));
  return __uint_as_float((magnitude >= 31u << 23 ? 0x7f800000u | magnitude : finite) | (h & 0x8000) << 16);
}

template <Format kFormat>
__device__ inline float format_value(const uint8_t* blocks, int64_t i) {
  if constexpr (kFormat == Format::kF32) {
    return reinterpret_cast<const float*>(blocks)[i];
  } else if constexpr (kFormat == Format::kF16) {
    return from_f16(load16(blocks + 2 * i));
  } else if constexpr (kFormat == Format::kBF16) {
    return __uint_as_float(load16(blocks + 2 * i) << 16);
  } else if constexpr (kFormat == Format::kQ8_0) {
    const uint8_t* block = blocks + i / 32 * 34;
    return mul(from_f16(load16(block)), static_cast<float>(static_cast<int8_t>(block[2 + i % 32])));
  } else if constexpr (kFormat == Format::kQ4_0 || kFormat == Format::kQ4_1) {
    constexpr bool kMinimum = kFormat == Format::kQ4_1;
    const uint8_t* block = blocks + i / 32 * (kMinimum ? 20 : 18);
    const int at = static_cast<int>(i % 32), byte = block[(kMinimum ? 4 : 2) + at % 16];
    const int nibble = at < 16 ? byte & 15 : byte >> 4;
    const float d = from_f16(load16(block));
    if constexpr (kMinimum) return add(mul(d, static_cast<float>(nibble)), from_f16(load16(block + 2)));
    return mul(d, static_cast<float>(nibble - 8));
  } else {
    const uint8_t* block = blocks + i / 256 * 210;
    const int at = static_cast<int>(i % 256), half = at / 128, k = at / 32 % 4, j = at % 32;
    const int low = block[64 * half + j + k % 2 * 32] >> (k / 2 * 4) & 15,
              high = block[128 + 32 * half + j] >> (2 * k) & 3;
    const auto scale = static_cast<int8_t>(block[192 + 8 * half + 2 * k + j / 16]);
    return mul(mul(from_f16(load16(block + 208)), static_cast<float>(scale)),
               static_cast<float>((low | high << 4) - 32));
  }
}

// f(FormatConstant<format>()).
template <Format kFormat>
struct FormatConstant {
  static constexpr Format value = kFormat;
};
template <class F>
void with_format(Format format, F f) {
  switch (format) {
    case Format::kF32:
      return f(FormatConstant<Format::kF32>());
    case Format::kF16:
      return f(FormatConstant<Format::kF16>());
    case Format::kBF16:
      return f(FormatConstant<Format::kBF16>());
    case Format::kQ8_0:
      return f(FormatConstant<Format::kQ8_0>());
    case Format::kQ4_0:
      return f(FormatConstant<Format::kQ4_0>());
    case Format::kQ4_1:
      return f(FormatConstant<Format::kQ4_1>());
    case Format::kQ6_K:
      return f(FormatConstant<Format::kQ6_K>());
  }
}

}  // namespace humanizer::cuda
