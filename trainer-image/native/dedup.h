// Near duplicates by word shingles: MinHash bands propose pairs, the exact Jaccard similarity decides each of them.
//
//   text        words separated by single spaces, already in the normal form that the caller compares by (UTF-8)
//   shingle     k consecutive words, k = shingle_words; texts of fewer than 20 words use k = 3 (dedup_sketch.h)
//   similarity  J(a, b) = |A ∩ B| / |A ∪ B| over the shingles of the shorter text's k. A text of 40 or more words is
//               never similar to one of fewer than 20
//   duplicates  J > threshold. Clusters are the connected components of that relation over the proposed pairs; buckets
//               of more than kSmallBucket texts are searched as dedup_bucket.h says
//
// 32 bands of 8 hashes propose a pair with probability 1 - (1 - J^8)^32: 0.99996 at J = 0.85. The clusters depend on
// the texts and their order alone: not on the number of threads, the machine, the memory, or how the texts were divided
// into calls of add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dedup_bucket.h"

namespace humanizer {

class NearDuplicates {
 public:
  // threshold in (0, 1]; shingle_words and threads >= 1. Beyond memory_bytes what is known of the texts goes to a file
  // in `folder` that has no name, so nothing is left of it; an empty folder: everything stays in memory.
  // Throws std::invalid_argument naming the value, std::system_error when the folder cannot be written.
  NearDuplicates(double threshold, int shingle_words, int threads, size_t memory_bytes = 0, std::string folder = "");
  ~NearDuplicates();
  NearDuplicates(const NearDuplicates&) = delete;
  NearDuplicates& operator=(const NearDuplicates&) = delete;

  // Appends texts: text i is bytes [ends[i-1], ends[i]) of `bytes`, with ends[-1] = 0. Keeps hashes only: 8 bytes a
  // word and 140 a text, or 12 a text once on disk. Throws std::invalid_argument when ends decrease or pass the end of
  // bytes.
  void add(std::string_view bytes, const uint32_t* ends, size_t count);

  // For each text the ordinal of the first text of its cluster; its own ordinal when it has no earlier near duplicate.
  std::vector<uint32_t> clusters() const;

  size_t size() const { return texts_; }
  // Bytes that were moved to disk.
  size_t spilled() const { return spilled_; }

 private:
  enum Scale { kShort, kLong, kScales };  // k = min(3, shingle_words), k = shingle_words

  // The texts of one call of add. Their vectors are empty once on disk.
  struct Batch {
    uint32_t first;                  // ordinal of its first text
    std::vector<uint32_t> begins;    // where the sets begin: short and long set of each text in turn, then the end
    std::vector<uint64_t> shingles;  // all sets
    std::vector<uint32_t> members[kScales];                 // ordinals of the texts with a set of the scale
    std::vector<uint32_t> keys[kScales];                    // by band, then by member
    int64_t shingles_at = -1, keys_at[kScales] = {-1, -1};  // in the file
    size_t bytes() const;
  };
  class View;

  Batch describe(std::string_view bytes, const uint32_t* ends, size_t begin, size_t end) const;
  void spill();
  const Batch& batch_of(uint32_t text) const;
  std::vector<uint64_t> sorted_band(Scale scale, int band) const;  // key << 32 | text

  double threshold_;
  int words_[kScales];
  int threads_;
  size_t memory_bytes_;
  std::string folder_;
  size_t texts_ = 0;
  size_t resident_ = 0;
  size_t spilled_ = 0;
  int file_ = -1;
  std::vector<Batch> batches_;
};

}  // namespace humanizer
