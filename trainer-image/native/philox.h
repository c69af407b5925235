// Philox4x32-10 (Salmon et al., 2011): a counter-based generator. The same (key, counter) gives the same four words on
// every backend and in every pass, however the batch was cut.
//
//   key      (seed, layer * 8 + module)
//   counter  (optimizer step, sequence ordinal in the effective batch, position in the packed sequence, lane)
//
// One counter serves eight columns of a dropout mask: column c takes 16 bits of lane c / 8, those of word c % 8 / 2,
// the low half where c is even (dropout_mask.h, philox.cuh). One counter serves four columns of the initial A, in
// groups of 32: column c takes word (c / 8) % 4 of lane (c / 32) * 8 + c % 8, so eight neighbouring lanes fill 32
// neighbouring columns without a transpose.
#pragma once

#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace humanizer {

struct PhiloxKey {
  uint32_t low, high;
};

// The step that initialisation uses; optimizer steps are 1-based and never get there.
inline constexpr uint32_t kInitialisationStep = 0xffffffffu;

// The seed is folded to 32 bits: exact below 2^32.
static inline PhiloxKey philox_key(uint64_t seed, int layer, int module) {
  return {static_cast<uint32_t>(seed) ^ static_cast<uint32_t>(seed >> 32), static_cast<uint32_t>(layer * 8 + module)};
}

// words[8 * w + i] = word w of counter (c0, c1, c2, first + i). static: each instruction path has its own.
#if defined(__AVX2__)

struct PhiloxProduct {
  __m256i high, low;
};

static inline PhiloxProduct philox_multiply(__m256i x, __m256i by) {
  const __m256i even = _mm256_mul_epu32(x, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), by);
  return {_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa),
          _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa)};
}

static inline void philox_group(uint32_t words[32], PhiloxKey key, uint32_t c0, uint32_t c1, uint32_t c2,
                                uint32_t first) {
  const __m256i by0 = _mm256_set1_epi32(static_cast<int>(0xD2511F53u)),
                by2 = _mm256_set1_epi32(static_cast<int>(0xCD9E8D57u));
  __m256i x0 = _mm256_set1_epi32(static_cast<int>(c0)), x1 = _mm256_set1_epi32(static_cast<int>(c1));
  __m256i x2 = _mm256_set1_epi32(static_cast<int>(c2));
  __m256i x3 = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(first)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  uint32_t k0 = key.low, k1 = key.high;
  for (int round = 0; round < 10; ++round) {
    const PhiloxProduct a = philox_multiply(x0, by0), b = philox_multiply(x2, by2);
    x0 = _mm256_xor_si256(_mm256_xor_si256(b.high, x1), _mm256_set1_epi32(static_cast<int>(k0)));
    x2 = _mm256_xor_si256(_mm256_xor_si256(a.high, x3), _mm256_set1_epi32(static_cast<int>(k1)));
    x1 = b.low;
    x3 = a.low;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  auto* out = reinterpret_cast<__m256i*>(words);
  _mm256_storeu_si256(out, x0);
  _mm256_storeu_si256(out + 1, x1);
  _mm256_storeu_si256(out + 2, x2);
  _mm256_storeu_si256(out + 3, x3);
}

#else

static inline void philox_group(uint32_t words[32], PhiloxKey key, uint32_t c0, uint32_t c1, uint32_t c2,
                                uint32_t first) {
  uint32_t x0[8], x1[8], x2[8], x3[8];
  for (uint32_t lane = 0; lane < 8; ++lane) {
    x0[lane] = c0;
    x1[lane] = c1;
    x2[lane] = c2;
    x3[lane] = first + lane;
  }
  uint32_t k0 = key.low, k1 = key.high;
  for (int round = 0; round < 10; ++round) {
    for (int lane = 0; lane < 8; ++lane) {
      const uint64_t a = static_cast<uint64_t>(x0[lane]) * 0xD2511F53u;
      const uint64_t b = static_cast<uint64_t>(x2[lane]) * 0xCD9E8D57u;
      const uint32_t high_a = static_cast<uint32_t>(a >> 32), high_b = static_cast<uint32_t>(b >> 32);
      x0[lane] = high_b ^ x1[lane] ^ k0;
      x2[lane] = high_a ^ x3[lane] ^ k1;
      x1[lane] = static_cast<uint32_t>(b);
      x3[lane] = static_cast<uint32_t>(a);
    }
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int lane = 0; lane < 8; ++lane) {
    words[lane] = x0[lane];
    words[8 + lane] = x1[lane];
    words[16 + lane] = x2[lane];
    words[24 + lane] = x3[lane];
  }
}

#endif

}  // namespace humanizer
