// What near-duplicate search keeps of a text: its sets of word shingles, and MinHash band keys of each set.
//
//   shingle   k consecutive words as a 64-bit hash; a text of fewer words than k is one shingle
//   minhash   h_j(S) = min over s in S of (s ^ flip_j) * factor_j, 32 bits, j < kBands * kRows
//   band key  hash of kRows consecutive minhashes: two texts share it with probability J^kRows. 32 bits, so that some
//             unequal texts share one too; what it proposes is verified anyway
//
// Integer arithmetic throughout: the same bits on every machine and instruction path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace humanizer {

constexpr int kBands = 32;
constexpr int kRows = 8;

// Appends a hash for each word; words are separated by single spaces.
void append_words(std::vector<uint64_t>& hashes, std::string_view text);

// Appends the set of k-word shingles of `words`, sorted; nothing for no words.
void append_shingles(std::vector<uint64_t>& set, const std::vector<uint64_t>& words, size_t k);

// keys[b * stride] = key of band b of a set of count > 0 shingles.
void band_keys(uint32_t* keys, size_t stride, const uint64_t* set, size_t count);

// |A ∩ B| / |A ∪ B| of two sorted sets; 0 when both are empty.
double jaccard(const uint64_t* a, size_t count_a, const uint64_t* b, size_t count_b);

}  // namespace humanizer
