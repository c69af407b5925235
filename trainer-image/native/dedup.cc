#include "dedup.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>

namespace humanizer {
namespace {

constexpr size_t kFewWords = 20;
constexpr int kShortShingle = 3;
constexpr int kHashes = NearDuplicates::kBands * NearDuplicates::kRows;

// ---------------------------------------------------------------------------------------------------------------------
// hashes

// The finalizer of MurmurHash3: every bit of x reaches every bit of the result.
uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

constexpr uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

uint64_t hash_word(std::string_view word) {
  uint64_t h = mix(word.size() + kGolden);
  for (size_t i = 0; i < word.size(); i += 8) {
    uint64_t piece = 0;
    std::memcpy(&piece, word.data() + i, std::min<size_t>(8, word.size() - i));
    h = mix((h + kGolden) ^ piece);
  }
  return h;
}

std::vector<uint64_t> hash_words(std::string_view text) {
  std::vector<uint64_t> words;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    if (end > begin) words.push_back(hash_word(text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return words;
}

// The set of k-word shingles, sorted; all words together when there are fewer than k.
std::vector<uint64_t> shingle_set(const std::vector<uint64_t>& words, size_t k) {
  std::vector<uint64_t> shingles;
  if (words.empty()) return shingles;
  k = std::min(k, words.size());
  shingles.reserve(words.size() - k + 1);
  for (size_t i = 0; i + k <= words.size(); i++) {
    uint64_t h = 0;
    for (size_t j = i; j < i + k; j++) h = mix(h * kGolden + words[j]);
    shingles.push_back(h);
  }
  std::sort(shingles.begin(), shingles.end());
  shingles.erase(std::unique(shingles.begin(), shingles.end()), shingles.end());
  shingles.shrink_to_fit();
  return shingles;
}

// ---------------------------------------------------------------------------------------------------------------------
// MinHash

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

// minima[j] = min over shingles s of (s ^ flip[j]) * factor[j]. Integer arithmetic: every clone gives the same bits.
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

std::vector<uint64_t> band_keys(const std::vector<uint64_t>& shingles) {
  if (shingles.empty()) return {};
  const HashFamily& family = hash_family();
  std::array<uint32_t, kHashes> minima;
  min_hashes(minima.data(), shingles.data(), shingles.size(), family.flip.data(), family.factor.data());
  std::vector<uint64_t> keys(NearDuplicates::kBands);
  for (int band = 0; band < NearDuplicates::kBands; band++) {
    uint64_t key = band;
    for (int row = 0; row < NearDuplicates::kRows; row++)
      key = mix(key * kGolden + minima[band * NearDuplicates::kRows + row]);
    keys[band] = key;
  }
  return keys;
}

// ---------------------------------------------------------------------------------------------------------------------
// similarity and clusters

double jaccard(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
  size_t common = 0;
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    common += a[i] == b[j];
    const bool step_a = a[i] <= b[j], step_b = b[j] <= a[i];
    i += step_a;
    j += step_b;
  }
  const size_t all = a.size() + b.size() - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

// J can not pass the quotient of the sizes.
bool sizes_allow(size_t a, size_t b, double threshold) {
  return static_cast<double>(std::min(a, b)) > threshold * static_cast<double>(std::max(a, b)) * (1 - 1e-12);
}

uint32_t root_of(std::vector<uint32_t>& parent, uint32_t text) {
  while (parent[text] != text) text = parent[text] = parent[parent[text]];
  return text;
}

// The smaller ordinal becomes the root, so that a root is always the first text of its cluster.
void unite(std::vector<uint32_t>& parent, uint32_t a, uint32_t b) {
  a = root_of(parent, a);
  b = root_of(parent, b);
  parent[std::max(a, b)] = std::min(a, b);
}

// Calls body(begin, end) on up to `threads` threads over equal parts of [0, count); rethrows the first error. Parts for
// which the system gives no thread run on the calling one.
template <typename Body>
void in_parts(int threads, size_t count, const Body& body) {
  const size_t parts = std::min<size_t>(threads, count);
  std::vector<std::exception_ptr> errors(parts);
  const auto run = [&](size_t part) {
    try {
      body(count * part / parts, count * (part + 1) / parts);
    } catch (...) {
      errors[part] = std::current_exception();
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(parts);
  size_t given = 1;
  try {
    for (; given < parts; given++) workers.emplace_back(run, given);
  } catch (const std::exception&) {
  }
  if (parts > 0) run(0);
  for (size_t part = given; part < parts; part++) run(part);
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace

NearDuplicates::NearDuplicates(double threshold, int shingle_words, int threads)
    : threshold_(threshold), words_{std::min(kShortShingle, shingle_words), shingle_words}, threads_(threads) {
  if (!(threshold > 0 && threshold <= 1))
    throw std::invalid_argument("threshold is " + std::to_string(threshold) + "; expected more than 0 and at most 1");
  if (shingle_words < 1)
    throw std::invalid_argument("shingleWords is " + std::to_string(shingle_words) + "; expected at least 1");
  if (threads < 1) throw std::invalid_argument("threads is " + std::to_string(threads) + "; expected at least 1");
}

NearDuplicates::Text NearDuplicates::describe(std::string_view text) const {
  const std::vector<uint64_t> words = hash_words(text);
  Text described;
  described.few_words = words.size() < kFewWords;
  if (words.size() < 2 * kFewWords) described.shingles[kShort] = shingle_set(words, words_[kShort]);
  if (!described.few_words) described.shingles[kLong] = shingle_set(words, words_[kLong]);
  for (int scale = 0; scale < kScales; scale++) described.bands[scale] = band_keys(described.shingles[scale]);
  return described;
}

void NearDuplicates::add(std::string_view bytes, const uint32_t* ends, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (ends[i] > bytes.size() || (i > 0 && ends[i] < ends[i - 1]))
      throw std::invalid_argument("ends[" + std::to_string(i) + "] is " + std::to_string(ends[i]) +
                                  "; expected ascending offsets of at most " + std::to_string(bytes.size()));
  const size_t first = texts_.size();
  if (first + count > std::numeric_limits<uint32_t>::max()) throw std::invalid_argument("more than 4294967295 texts");
  texts_.resize(first + count);
  try {
    in_parts(threads_, count, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; i++) {
        const size_t start = i == 0 ? 0 : ends[i - 1];
        texts_[first + i] = describe(bytes.substr(start, ends[i] - start));
      }
    });
  } catch (...) {
    texts_.resize(first);
    throw;
  }
}

std::vector<NearDuplicates::Proposal> NearDuplicates::sorted_band(Scale scale, int band) const {
  std::vector<Proposal> proposals;
  for (uint32_t text = 0; text < texts_.size(); text++)
    if (!texts_[text].bands[scale].empty()) proposals.emplace_back(texts_[text].bands[scale][band], text);
  std::sort(proposals.begin(), proposals.end());
  return proposals;
}

// Unites all similar pairs among texts of equal key. A text is compared with a cluster until its first similar member.
void NearDuplicates::join(const std::vector<Proposal>& band, Scale scale, std::vector<uint32_t>& parent) const {
  for (size_t begin = 0, end; begin < band.size(); begin = end) {
    for (end = begin + 1; end < band.size() && band[end].first == band[begin].first;) end++;
    for (size_t j = begin + 1; j < end; j++) {
      const Text& later = texts_[band[j].second];
      for (size_t i = begin; i < j; i++) {
        const Text& earlier = texts_[band[i].second];
        if (scale == kShort && !earlier.few_words && !later.few_words) continue;
        if (root_of(parent, band[i].second) == root_of(parent, band[j].second)) continue;
        if (!sizes_allow(earlier.shingles[scale].size(), later.shingles[scale].size(), threshold_)) continue;
        if (jaccard(earlier.shingles[scale], later.shingles[scale]) > threshold_)
          unite(parent, band[i].second, band[j].second);
      }
    }
  }
}

std::vector<uint32_t> NearDuplicates::clusters() const {
  std::vector<uint32_t> parent(texts_.size());
  std::iota(parent.begin(), parent.end(), 0);
  for (int scale = 0; scale < kScales; scale++)
    for (int band = 0; band < kBands; band += threads_) {
      const int width = std::min(threads_, kBands - band);
      std::vector<std::vector<Proposal>> sorted(width);
      in_parts(width, width, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; i++) sorted[i] = sorted_band(Scale(scale), band + static_cast<int>(i));
      });
      for (const auto& proposals : sorted) join(proposals, Scale(scale), parent);
    }
  for (uint32_t text = 0; text < parent.size(); text++) parent[text] = root_of(parent, text);
  return parent;
}

double NearDuplicates::similarity(uint32_t a, uint32_t b) const {
  const Text &left = texts_.at(a), &right = texts_.at(b);
  const Scale scale = left.few_words || right.few_words ? kShort : kLong;
  return jaccard(left.shingles[scale], right.shingles[scale]);
}

}  // namespace humanizer
