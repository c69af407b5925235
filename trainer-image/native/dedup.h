// Near duplicates by word shingles: MinHash bands propose pairs, the exact Jaccard similarity decides each of them.
//
//   text        words separated by single spaces, already in the normal form that the caller compares by (UTF-8)
//   shingle     k consecutive words, k = shingle_words; texts of fewer than 20 words use k = 3, and a text of fewer
//   words
//               than k is one shingle. A text is its set of shingles, each a 64-bit hash
//   similarity  J(a, b) = |A ∩ B| / |A ∪ B| over the shingles of the shorter text's k. A text of 40 or more words is
//   never
//               similar to one of fewer than 20
//   duplicates  J > threshold. Clusters are the connected components of that relation over the proposed pairs
//
// 32 bands of 8 hashes propose a pair with probability 1 - (1 - J^8)^32: 0.99996 at J = 0.85. The clusters depend on
// the texts and their order alone: not on the number of threads, the machine, or how the texts were divided into calls
// of add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace humanizer {

class NearDuplicates {
 public:
  static constexpr int kBands = 32;
  static constexpr int kRows = 8;

  // threshold in (0, 1]; shingle_words and threads >= 1. Throws std::invalid_argument naming the value.
  NearDuplicates(double threshold, int shingle_words, int threads);

  // Appends texts: text i is bytes [ends[i-1], ends[i]) of `bytes`, with ends[-1] = 0. Keeps hashes only, about 8 bytes
  // a word and 256 a text. Throws std::invalid_argument when ends decrease or pass the end of bytes.
  void add(std::string_view bytes, const uint32_t* ends, size_t count);

  // For each text the ordinal of the first text of its cluster; its own ordinal when it has no earlier near duplicate.
  std::vector<uint32_t> clusters() const;

  // J of two texts by their ordinals, as clusters() judges it.
  double similarity(uint32_t a, uint32_t b) const;

  size_t size() const { return texts_.size(); }

 private:
  enum Scale { kShort, kLong, kScales };  // k = min(3, shingle_words), k = shingle_words

  struct Text {
    std::vector<uint64_t> shingles[kScales];  // sorted and unique; empty where the text is not compared on that scale
    std::vector<uint64_t> bands[kScales];     // kBands keys, or empty with the shingles
    bool few_words;                           // fewer than 20
  };
  using Proposal = std::pair<uint64_t, uint32_t>;  // band key, text

  Text describe(std::string_view text) const;
  std::vector<Proposal> sorted_band(Scale scale, int band) const;
  void join(const std::vector<Proposal>& band, Scale scale, std::vector<uint32_t>& parent) const;

  double threshold_;
  int words_[kScales];
  int threads_;
  std::vector<Text> texts_;
};

}  // namespace humanizer
