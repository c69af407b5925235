#include "min_hash.h"

namespace humanizer::HUMANIZER_ISA {

void min_hash(uint32_t* minima, const uint32_t* values, size_t count, const uint32_t* flip, const uint32_t* factor) {
#if defined(__AVX512F__)
  constexpr int kBlock = 128;
#else
  constexpr int kBlock = 32;
#endif
  static_assert(kMinHashes % kBlock == 0);
  // A block's minima, flips and factors stay in vector registers over all values.
  for (int start = 0; start < kMinHashes; start += kBlock) {
    uint32_t least[kBlock];
    for (int j = 0; j < kBlock; j++) least[j] = ~uint32_t{0};
    for (size_t i = 0; i < count; i++) {
      const uint32_t value = values[i];
#pragma omp simd
      for (int j = 0; j < kBlock; j++) {
        const uint32_t h = (value ^ flip[start + j]) * factor[start + j];
        least[j] = h < least[j] ? h : least[j];
      }
    }
    for (int j = 0; j < kBlock; j++) minima[start + j] = least[j];
  }
}

}  // namespace humanizer::HUMANIZER_ISA
