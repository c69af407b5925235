#include "nf4.h"

#include <bit>
#include <cmath>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int kZeroCode = 7;  // kNf4Code[7] is 0

// Index of the nearest value; the lower one on a tie.
int nearest_dynamic(float x) {
  int low = 0, high = 255;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (kDynamicCode[middle] <= x ? low : high) = middle;
  }
  return x - kDynamicCode[low] <= kDynamicCode[high] - x ? low : high;
}

float block_absmax(const Nf4Tensor& t, int64_t b) {
  if (t.absmax) return t.absmax[b];
  return t.absmax_map[t.absmax_code[b]] * t.absmax_scale[b / kAbsmaxGroup] + t.offset;
}

#if defined(__AVX2__)

// Two table halves of eight, chosen by bit 3 of the code; 16 values for 8 bytes. Codes of a byte: high nibble first.
void dequantize_run(float* out, const uint8_t* codes, int64_t count, const float* code_map, float absmax) {
  const __m256 scale = _mm256_set1_ps(absmax);
  const __m256 low_half = _mm256_mul_ps(_mm256_loadu_ps(code_map), scale);
  const __m256 high_half = _mm256_mul_ps(_mm256_loadu_ps(code_map + 8), scale);
  const __m256i shift = _mm256_setr_epi32(4, 0, 12, 8, 20, 16, 28, 24);
  for (int64_t i = 0; i + 8 <= count; i += 8) {
    int32_t four_bytes;
    __builtin_memcpy(&four_bytes, codes + i / 2, 4);
    const __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(four_bytes), shift);
    const __m256 below = _mm256_permutevar8x32_ps(low_half, code);  // reads bits 0-2 only
    const __m256 above = _mm256_permutevar8x32_ps(high_half, code);
    const __m256 pick = _mm256_castsi256_ps(_mm256_slli_epi32(code, 28));  // blendv reads bit 31: bit 3 of the code
    _mm256_storeu_ps(out + i, _mm256_blendv_ps(below, above, pick));
  }
  for (int64_t i = count / 8 * 8; i < count; ++i) {
    out[i] = code_map[i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4] * absmax;
  }
}

#else

void dequantize_run(float* out, const uint8_t* codes, int64_t count, const float* code_map, float absmax) {
  for (int64_t i = 0; i < count; ++i) out[i] = code_map[i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4] * absmax;
}

#endif

}  // namespace

void nf4_quantize(uint8_t* codes, float* absmax, const float* values, int64_t count, int64_t block) {
#pragma omp parallel for schedule(static)
  for (int64_t b = 0; b < (count + block - 1) / block; ++b) {
    const int64_t begin = b * block, size = begin + block < count ? block : count - begin;
    const float* x = values + begin;
    // As integers the magnitudes have the order of the numbers, with infinity and NaN above all of them.
    int32_t bits = 0;
#pragma omp simd reduction(max : bits)
    for (int64_t i = 0; i < size; ++i) {
      const int32_t magnitude = std::bit_cast<int32_t>(x[i]) & 0x7fffffff;
      bits = magnitude > bits ? magnitude : bits;
    }
    const float largest = std::bit_cast<float>(bits);
    absmax[b] = largest;
    const float reciprocal = 1.0f / (largest > 1e-38f ? largest : 1e-38f);
    const auto code_of = [&](int64_t i) {
      const float n = x[i] * reciprocal;
      int code = 0;
      for (int k = 0; k < 15; ++k) code += n > kNf4Threshold[k];
      return code;
    };
    for (int64_t i = 0; i < size; i += 2) {
      const int second = i + 1 < size ? code_of(i + 1) : kZeroCode;
      codes[(begin + i) / 2] = static_cast<uint8_t>(code_of(i) << 4 | second);
    }
  }
}

float nf4_quantize_absmax(uint8_t* code, float* scale, const float* absmax, int64_t blocks) {
  double sum = 0;
  for (int64_t b = 0; b < blocks; ++b) sum += static_cast<double>(absmax[b]);
  const float offset = static_cast<float>(sum / static_cast<double>(blocks));
  for (int64_t begin = 0; begin < blocks; begin += kAbsmaxGroup) {
    const int64_t end = begin + kAbsmaxGroup < blocks ? begin + kAbsmaxGroup : blocks;
    float largest = 0;
    for (int64_t b = begin; b < end; ++b) largest = std::fmax(largest, std::fabs(absmax[b] - offset));
    scale[begin / kAbsmaxGroup] = largest;
    const float divisor = largest > 0 ? largest : 1.0f;
    for (int64_t b = begin; b < end; ++b)
      code[b] = static_cast<uint8_t>(nearest_dynamic((absmax[b] - offset) / divisor));
  }
  return offset;
}

// On the calling thread alone: few_rows.cc calls it from a parallel region, where a nested one costs more than a tile.
void nf4_dequantize_tile(float* out, const Nf4Tensor& t, int64_t begin, int64_t count) {
  for (int64_t at = begin; at < begin + count; at += t.block) {
    const int64_t size = at + t.block < begin + count ? t.block : begin + count - at;
    dequantize_run(out + at - begin, t.codes + at / 2, size, t.code, block_absmax(t, at / t.block));
  }
}

void nf4_absmax(float* out, const Nf4Tensor& t, int64_t first, int64_t count) {
  int64_t b = 0;
#if defined(__AVX512F__)
  if (t.absmax_code) {
    for (; b + 16 <= count; b += 16) {
      // Sixteen blocks lie in two groups at most.
      const int64_t group = (first + b) / kAbsmaxGroup, last = (first + b + 15) / kAbsmaxGroup;
      const int64_t of_group = (group + 1) * kAbsmaxGroup - first - b;
      const __mmask16 next = of_group >= 16 ? 0 : static_cast<__mmask16>(0xffffu << of_group);
      const __m512 scale =
          _mm512_mask_mov_ps(_mm512_set1_ps(t.absmax_scale[group]), next, _mm512_set1_ps(t.absmax_scale[last]));
      const __m512i code =
          _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(t.absmax_code + first + b)));
      const __m512 value = _mm512_mul_ps(_mm512_i32gather_ps(code, t.absmax_map, 4), scale);
      _mm512_storeu_ps(out + b, _mm512_add_ps(value, _mm512_set1_ps(t.offset)));
    }
  }
#endif
  for (; b < count; ++b) out[b] = block_absmax(t, first + b);
}

void nf4_dequantize(float* out, const Nf4Tensor& t, int64_t begin, int64_t count) {
  const int64_t chunk = 256 * t.block;
#pragma omp parallel for schedule(static)
  for (int64_t at = 0; at < count; at += chunk) {
    nf4_dequantize_tile(out + at, t, begin + at, at + chunk < count ? chunk : count - at);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
