// Near duplicates by word shingles: MinHash bands propose pairs, the exact Jaccard similarity decides each of them.
//
//   text        words separated by single spaces, already in the normal form that the caller compares by (UTF-8)
//   shingle     k consecutive words, k = shingle_words; texts of fewer than 20 words use k = 3 (dedup_sketch.h)
//   similarity  J(a, b) = |A ∩ B| / |A ∪ B| over the shingles of the shorter text's k. A text of 40 or more words is
//               never similar to one of fewer than 20
//   duplicates  J > threshold. Clusters are the connected components of that relation over the proposed pairs; buckets
//               of more than kSmallBucket texts are searched as dedup_large_bucket.h says
//
// 32 bands of 8 hashes propose a pair with probability 1 - (1 - J^8)^32: 0.99996 at J = 0.85. The clusters depend on
// the texts and their order alone: not on the number of threads, the machine, the memory, or how the texts were divided
// into calls of add.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "dedup_candidates.h"
#include "dedup_clusters.h"
#include "dedup_store.h"

namespace humanizer {

class NearDuplicates {
 public:
  // threshold in (0, 1]; shingle_words and threads >= 1. Of memory_bytes three eighths are for sets and an eighth for
  // keys; beyond that they go to a file in `folder`. A quarter is for sorting the keys, some of them at a time, and
  // after that for the sets that are compared, an eighth for the pairs that keys propose, and one for the index of one
  // large bucket. Outside of it stay 20 bytes a text, 5 MB a thread, what one call of add takes while it lasts, and 40
  // bytes for each text of a large bucket. An empty folder: everything stays in memory. Throws std::invalid_argument
  // naming the value, std::system_error when the folder cannot be written.
  NearDuplicates(double threshold, int shingle_words, int threads, size_t memory_bytes = 0, std::string folder = "");

  // Appends texts: text i is bytes [ends[i-1], ends[i]) of `bytes`, with ends[-1] = 0. Keeps hashes only: 6 bytes a
  // word and 140 a text. Throws std::invalid_argument when ends decrease or pass the end of bytes.
  void add(std::string_view bytes, const uint32_t* ends, size_t count);

  // For each text the ordinal of the first text of its cluster; its own ordinal when it has no earlier near duplicate.
  std::vector<uint32_t> clusters() const;

  size_t size() const { return texts_; }
  // Bytes that were moved to disk.
  size_t spilled() const { return file_ ? file_->size() : 0; }

 private:
  enum Scale { kShort, kLong, kScales };  // k = min(3, shingle_words), k = shingle_words

  // The texts of one call of add.
  struct Batch {
    uint32_t first;                          // ordinal of its first text
    std::vector<uint32_t> begins;            // where the sets begin: short and long set of each text, then the end
    std::vector<uint32_t> members[kScales];  // ordinals of the texts with a set of the scale
    Block sets;                              // all of them; empty when they are on disk
    int64_t sets_at = 0;                     // there
    Block keys[kScales];                     // 32 bits each, by band, then by member; empty when they are on disk
    int64_t keys_at[kScales] = {0, 0};       // there: those of the first band
    size_t apart[kScales] = {0, 0};          // and bytes from one band to the next
  };
  struct Part;
  struct Search;
  class View;

  Part describe(std::string_view bytes, const uint32_t* ends, size_t begin, size_t end) const;
  const Batch& batch_of(uint32_t text) const;
  size_t members(Scale scale) const;
  void spill_keys();
  const uint8_t* keys_of(const Batch& batch, Scale scale, int band, ReadAhead& disk) const;
  void join_band(Search& search, Clusters& clusters, Scale scale, int band) const;

  double threshold_;
  int words_[kScales];
  int threads_;
  size_t memory_bytes_ = std::numeric_limits<size_t>::max();
  std::string folder_;
  size_t texts_ = 0;
  std::unique_ptr<SpillFile> file_;
  std::vector<Batch> batches_;
  size_t set_bytes_ = 0, key_bytes_ = 0;  // in memory
  size_t keys_from_ = 0;                  // the batch whose keys are the first in memory
  std::vector<uint32_t> firsts_;          // of the batches: looked up for every text that is compared
};

}  // namespace humanizer
