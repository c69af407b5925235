#include "dedup_sketch.h"

#include <algorithm>
#include <array>
#include <bit>

namespace humanizer {
namespace {

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

// The finalizer of MurmurHash3: every bit of x reaches every bit of the result.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

struct HashFamily {
  std::array<uint32_t, kMinHashes> flip;
  std::array<uint32_t, kMinHashes> factor;
};

const HashFamily& hash_family() {
  static const HashFamily family = [] {
    HashFamily made;
    for (int j = 0; j < kMinHashes; j++) {
      const uint64_t h = mix(kGolden * (j + 1));
      made.flip[j] = static_cast<uint32_t>(h >> 32);
      made.factor[j] = static_cast<uint32_t>(h) | 1;
    }
    return made;
  }();
  return family;
}

// The 8 bytes of a text from `at` on, zeros beyond its end.
uint64_t eight(std::string_view text, size_t at) {
  uint64_t bytes = 0;
  if (at + 8 <= text.size())
    std::memcpy(&bytes, text.data() + at, 8);
  else
    for (size_t i = at; i < text.size(); i++)
      bytes |= static_cast<uint64_t>(static_cast<uint8_t>(text[i])) << 8 * (i - at);
  return bytes;
}

// The high bit of each byte that is a space, and perhaps of bytes above the lowest such.
uint64_t spaces_in(uint64_t bytes) {
  constexpr uint64_t kOnes = 0x0101010101010101ULL;
  const uint64_t x = bytes ^ (kOnes * ' ');
  return (x - kOnes) & ~x & (kOnes << 7);
}

}  // namespace

void Sketcher::read(std::string_view text) {
  words_.clear();
  for (size_t at = 0; at < text.size();) {
    if (text[at] == ' ') {
      at++;
      continue;
    }
    const size_t begin = at;
    uint64_t h = kGolden;
    // To the first block that is not full, an empty one too: at the end of a text a word has the hash that it has
    // elsewhere.
    for (;;) {
      const uint64_t bytes = eight(text, at);
      const size_t left = std::min<size_t>(8, text.size() - at);
      const size_t own = std::min<size_t>(left, std::countr_zero(spaces_in(bytes)) / 8);
      h = mix((h + kGolden) ^ (own < 8 ? bytes & ((uint64_t{1} << 8 * own) - 1) : bytes));
      at += own;
      if (own < 8) break;
    }
    words_.push_back(h + (at - begin) * kGolden);
    at++;
  }
}

void Sketcher::shingle(size_t k) {
  set_.clear();
  if (words_.empty()) return;
  k = std::min(k, words_.size());
  // A polynomial in kGolden over the words' hashes, from word to word: the first word of the last one leaves.
  uint64_t top = 1, h = 0;
  for (size_t i = 0; i + 1 < k; i++) top *= kGolden;
  for (size_t i = 0; i < k; i++) h = h * kGolden + words_[i];
  set_.push_back(mix(h) >> 16);
  for (size_t i = k; i < words_.size(); i++) {
    h = (h - words_[i - k] * top) * kGolden + words_[i];
    set_.push_back(mix(h) >> 16);
  }
  sort_set();
}

// Shingles are spread evenly, so their upper bits say almost where each belongs; the rest is done by insertion.
void Sketcher::sort_set() {
  constexpr int kMostBits = 12;
  const size_t n = set_.size();
  const int bits = std::min<int>(kMostBits, std::bit_width(n));
  std::array<uint32_t, (1 << kMostBits) + 1> ends;
  std::fill_n(ends.begin(), (size_t{1} << bits) + 1, 0);
  for (const uint64_t shingle : set_) ends[(shingle >> (48 - bits)) + 1]++;
  for (size_t i = 1; i <= size_t{1} << bits; i++) ends[i] += ends[i - 1];
  sorted_.resize(n);
  for (const uint64_t shingle : set_) sorted_[ends[shingle >> (48 - bits)]++] = shingle;
  if (n > size_t{8} << kMostBits) {
    std::sort(sorted_.begin(), sorted_.end());
  } else {
    for (size_t i = 1; i < n; i++) {
      const uint64_t shingle = sorted_[i];
      size_t place = i;
      for (; place > 0 && sorted_[place - 1] > shingle; place--) sorted_[place] = sorted_[place - 1];
      sorted_[place] = shingle;
    }
  }
  sorted_.erase(std::unique(sorted_.begin(), sorted_.end()), sorted_.end());
  set_.swap(sorted_);
}

void Sketcher::append_set(std::vector<uint8_t>& bytes) const {
  const size_t begin = bytes.size();
  bytes.resize(begin + set_.size() * ShingleSet::kBytes);
  uint8_t* to = bytes.data() + begin;
  for (const uint64_t shingle : set_) {
    std::memcpy(to, &shingle, ShingleSet::kBytes);
    to += ShingleSet::kBytes;
  }
}

void Sketcher::band_keys(uint32_t* keys, MinHashOp& min_hash) {
  const HashFamily& family = hash_family();
  values_.clear();
  for (const uint64_t shingle : set_) values_.push_back(static_cast<uint32_t>(shingle >> 16));
  std::array<uint32_t, kMinHashes> minima;
  min_hash(minima.data(), values_.data(), values_.size(), family.flip.data(), family.factor.data());
  // The bands side by side: within one, each row waits for the one before.
  std::array<uint64_t, kBands> hashes;
  for (int band = 0; band < kBands; band++) hashes[band] = band;
  for (int row = 0; row < kRows; row++)
    for (int band = 0; band < kBands; band++) hashes[band] = mix(hashes[band] * kGolden + minima[band * kRows + row]);
  for (int band = 0; band < kBands; band++) keys[band] = static_cast<uint32_t>(hashes[band] >> 32);
}

double jaccard(ShingleSet a, ShingleSet b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const uint64_t x = a[i], y = b[j];
    common += x == y;
    i += x <= y;
    j += y <= x;
  }
  const size_t all = a.size() + b.size() - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

bool sizes_allow(size_t a, size_t b, double threshold) {
  return static_cast<double>(std::min(a, b)) > threshold * static_cast<double>(std::max(a, b)) * (1 - 1e-12);
}

}  // namespace humanizer
