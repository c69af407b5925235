#include "formats.h"

#include <bit>
#include <cstring>

namespace humanizer::HUMANIZER_ISA {

namespace {

uint16_t load16(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, 2);
  return bits;
}

// f16 to f32 by scaling the shifted bits with 2^112, which is exact for subnormals too; infinities and NaNs keep their
// exponent.
inline float from_f16(uint16_t h) {
  const uint32_t magnitude = static_cast<uint32_t>(h & 0x7fff) << 13;
  const uint32_t finite = std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) * 0x1p112f);
  const uint32_t bits = magnitude >= 31u << 23 ? 0x7f800000u | magnitude : finite;
  return std::bit_cast<float>(bits | static_cast<uint32_t>(h & 0x8000) << 16);
}

inline float from_bf16(uint16_t h) { return std::bit_cast<float>(static_cast<uint32_t>(h) << 16); }

void decode_q8_0(float* __restrict out, const uint8_t* __restrict block) {
  const float d = from_f16(load16(block));
  const auto* q = reinterpret_cast<const int8_t*>(block + 2);
#pragma omp simd
  for (int i = 0; i < 32; ++i) out[i] = d * static_cast<float>(q[i]);
}

void decode_q4_0(float* __restrict out, const uint8_t* __restrict block) {
  const float d = from_f16(load16(block));
#pragma omp simd
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>((block[2 + i] & 15) - 8);
    out[16 + i] = d * static_cast<float>((block[2 + i] >> 4) - 8);
  }
}

void decode_q4_1(float* __restrict out, const uint8_t* __restrict block) {
  const float d = from_f16(load16(block)), m = from_f16(load16(block + 2));
#pragma omp simd
  for (int i = 0; i < 16; ++i) {
    out[i] = d * static_cast<float>(block[4 + i] & 15) + m;
    out[16 + i] = d * static_cast<float>(block[4 + i] >> 4) + m;
  }
}

void decode_q6_k(float* __restrict out, const uint8_t* __restrict block) {
  const uint8_t *low = block, *high = block + 128;
  const auto* scale = reinterpret_cast<const int8_t*>(block + 192);
  const float d = from_f16(load16(block + 208));
  for (int half = 0; half < 2; ++half, out += 128, low += 64, high += 32, scale += 8) {
    for (int i = 0; i < 32; ++i) {
      const int q[4] = {(low[i] & 15) | (high[i] & 3) << 4, (low[i + 32] & 15) | (high[i] >> 2 & 3) << 4,
                        (low[i] >> 4) | (high[i] >> 4 & 3) << 4, (low[i + 32] >> 4) | (high[i] >> 6) << 4};
      for (int k = 0; k < 4; ++k) {
        out[32 * k + i] = d * static_cast<float>(scale[2 * k + i / 16]) * static_cast<float>(q[k] - 32);
      }
    }
  }
}

template <int kValues, int kBytes, void (*decode_block)(float* __restrict, const uint8_t* __restrict)>
void decode_blocks(float* out, const uint8_t* blocks, int64_t count) {
  for (int64_t b = 0; b < count / kValues; ++b) decode_block(out + b * kValues, blocks + b * kBytes);
}

}  // namespace

// On the calling thread alone: few_rows.cc calls it from a parallel region, where a nested one costs more than a tile.
void decode_tile(float* out, const uint8_t* blocks, int64_t count, Format format) {
  switch (format) {
    case Format::kF32:
      std::memcpy(out, blocks, static_cast<size_t>(count) * 4);
      return;
    case Format::kF16:
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) out[i] = from_f16(reinterpret_cast<const uint16_t*>(blocks)[i]);
      return;
    case Format::kBF16:
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) out[i] = from_bf16(reinterpret_cast<const uint16_t*>(blocks)[i]);
      return;
    case Format::kQ8_0:
      return decode_blocks<32, 34, decode_q8_0>(out, blocks, count);
    case Format::kQ4_0:
      return decode_blocks<32, 18, decode_q4_0>(out, blocks, count);
    case Format::kQ4_1:
      return decode_blocks<32, 20, decode_q4_1>(out, blocks, count);
    case Format::kQ6_K:
      return decode_blocks<256, 210, decode_q6_k>(out, blocks, count);
  }
}

void decode(float* out, const uint8_t* blocks, int64_t count, Format format) {
  constexpr int64_t chunk = 16384;  // a multiple of every block
  const FormatSize size = format_size(format);
#pragma omp parallel for schedule(static) if (count > chunk)
  for (int64_t at = 0; at < count; at += chunk) {
    decode_tile(out + at, blocks + at / size.values * size.bytes, at + chunk < count ? chunk : count - at, format);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
