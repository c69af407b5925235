// What near-duplicate search keeps of a text: its sets of word shingles, and MinHash band keys of each set.
//
//   shingle   k consecutive words as a 48-bit hash; a text of fewer words than k is one shingle. Two of a million
//   texts'
//             pairs share one by accident with a probability of 1e-10
//   minhash   min_hash.h, over the upper 32 bits of the shingles
//   band key  hash of kRows consecutive minhashes: two texts share it with probability J^kRows. 32 bits, so that some
//             unequal texts share one too; what it proposes is verified anyway
//
// Integer arithmetic throughout: the same bits on every machine and instruction path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "min_hash.h"

namespace humanizer {

constexpr int kBands = 32;
constexpr int kRows = 8;
static_assert(kBands * kRows == kMinHashes);

// A set of shingles, ascending, as it is stored: six bytes each, the lowest first. kSlack bytes may be read beyond its
// end.
class ShingleSet {
 public:
  static constexpr size_t kBytes = 6;
  static constexpr size_t kSlack = 8;

  ShingleSet() = default;
  ShingleSet(const uint8_t* bytes, size_t count) : bytes_(bytes), count_(count) {}
  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  const uint8_t* data() const { return bytes_; }
  uint64_t operator[](size_t i) const {
    uint64_t shingle;
    std::memcpy(&shingle, bytes_ + i * kBytes, sizeof shingle);
    return shingle & ((uint64_t{1} << 48) - 1);
  }

 private:
  const uint8_t* bytes_ = nullptr;
  size_t count_ = 0;
};

// Makes the sets and keys of texts; keeps its working memory from text to text.
class Sketcher {
 public:
  // Hashes the words of a text, which single spaces separate. The sets below are made of them.
  void read(std::string_view text);
  size_t words() const { return words_.size(); }

  // Makes the set of k-word shingles; empty for no words.
  void shingle(size_t k);
  // Of the set that was made last, if it is not empty: appends it as ShingleSet has it; keys[b] = key of band b.
  size_t size() const { return set_.size(); }
  void append_set(std::vector<uint8_t>& bytes) const;
  void band_keys(uint32_t* keys, MinHashOp& min_hash);

 private:
  void sort_set();

  std::vector<uint64_t> words_;
  std::vector<uint64_t> set_;
  std::vector<uint64_t> sorted_;
  std::vector<uint32_t> values_;
};

// |A ∩ B| / |A ∪ B|; 0 when both are empty.
double jaccard(ShingleSet a, ShingleSet b);
// J can not pass the quotient of the sizes. The margin is for the rounding of threshold * size.
bool sizes_allow(size_t a, size_t b, double threshold);

}  // namespace humanizer
