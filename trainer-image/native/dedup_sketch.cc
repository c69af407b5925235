#include "dedup_sketch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace humanizer {
namespace {

constexpr int kHashes = kBands * kRows;
constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

// The finalizer of MurmurHash3: every bit of x reaches every bit of the result.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

uint64_t hash_word(std::string_view word) {
  uint64_t h = mix(word.size() + kGolden);
  for (size_t i = 0; i < word.size(); i += 8) {
    uint64_t piece = 0;
    std::memcpy(&piece, word.data() + i, std::min<size_t>(8, word.size() - i));
    h = mix((h + kGolden) ^ piece);
  }
  return h;
}

struct HashFamily {
  std::array<uint32_t, kHashes> flip;
  std::array<uint32_t, kHashes> factor;  // odd, so that each function is a permutation of 32 bits
};

const HashFamily& hash_family() {
  static const HashFamily family = [] {
    HashFamily made;
    for (int j = 0; j < kHashes; j++) {
      const uint64_t h = mix(kGolden * (j + 1));
      made.flip[j] = static_cast<uint32_t>(h >> 32);
      made.factor[j] = static_cast<uint32_t>(h) | 1;
    }
    return made;
  }();
  return family;
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
void min_hashes(uint32_t* minima, const uint64_t* shingles, size_t count, const uint32_t* flip,
                const uint32_t* factor) {
  constexpr int kBlock = 64;  // stays in vector registers over all shingles
  for (int start = 0; start < kHashes; start += kBlock) {
    uint32_t least[kBlock];
    for (int j = 0; j < kBlock; j++) least[j] = std::numeric_limits<uint32_t>::max();
    for (size_t i = 0; i < count; i++) {
      const uint32_t s = static_cast<uint32_t>(shingles[i] >> 32);
      for (int j = 0; j < kBlock; j++) {
        const uint32_t h = (s ^ flip[start + j]) * factor[start + j];
        least[j] = h < least[j] ? h : least[j];
      }
    }
    std::memcpy(minima + start, least, sizeof least);
  }
}

}  // namespace

void append_words(std::vector<uint64_t>& hashes, std::string_view text) {
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) hashes.push_back(hash_word(text.substr(begin, end - begin)));
    begin = end + 1;
  }
}

void append_shingles(std::vector<uint64_t>& set, const std::vector<uint64_t>& words, size_t k) {
  if (words.empty()) return;
  k = std::min(k, words.size());
  const size_t begin = set.size();
  for (size_t i = 0; i + k <= words.size(); i++) {
    uint64_t h = 0;
    for (size_t j = i; j < i + k; j++) h = mix(h * kGolden + words[j]);
    set.push_back(h);
  }
  std::sort(set.begin() + begin, set.end());
  set.erase(std::unique(set.begin() + begin, set.end()), set.end());
}

void band_keys(uint32_t* keys, size_t stride, const uint64_t* set, size_t count) {
  const HashFamily& family = hash_family();
  std::array<uint32_t, kHashes> minima;
  min_hashes(minima.data(), set, count, family.flip.data(), family.factor.data());
  for (int band = 0; band < kBands; band++) {
    uint64_t key = band;
    for (int row = 0; row < kRows; row++) key = mix(key * kGolden + minima[band * kRows + row]);
    keys[band * stride] = static_cast<uint32_t>(key >> 32);
  }
}

double jaccard(const uint64_t* a, size_t count_a, const uint64_t* b, size_t count_b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < count_a && j < count_b;) {
    common += a[i] == b[j];
    const bool step_a = a[i] <= b[j], step_b = b[j] <= a[i];
    i += step_a;
    j += step_b;
  }
  const size_t all = count_a + count_b - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

}  // namespace humanizer
