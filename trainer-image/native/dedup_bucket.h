// The similar pairs among texts that share a band key, without comparing all with all.
//
// A small bucket is compared pair by pair. In a large one only texts that share a rare shingle are compared (the prefix
// filter of PPJoin, Xiao et al. 2011): put every set in one order of all shingles, rarest first. If J(a, b) > t, then
// the first |a| - ceil(t |a|) + 1 shingles of the larger and the first |b| - ceil(2t / (1 + t) |b|) + 1 of the smaller
// have one in common. So nothing is missed, and texts alike in their common part alone never meet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "dedup_sketch.h"

namespace humanizer {

// Texts by their ordinals.
class Corpus {
 public:
  // It lies in memory or is brought into `room`.
  virtual ShingleSet set_of(uint32_t text, std::vector<uint8_t>& room) const = 0;
  virtual size_t size_of(uint32_t text) const = 0;
  virtual bool comparable(uint32_t a, uint32_t b) const = 0;

 protected:
  ~Corpus() = default;
};

using Edge = std::pair<uint32_t, uint32_t>;

// Appends pairs whose connected components are those of { (a, b) : comparable, J(a, b) > threshold } over `texts`
// (ascending). known[t] is a text that t is already connected with, the same for all of a component; such pairs need
// not be found again. In a large bucket a text that is similar to none of the first kComparedPerCluster texts of a
// cluster counts as not similar to that cluster.
void join_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const uint32_t* known, const Corpus& corpus,
                 double threshold);

constexpr size_t kSmallBucket = 48;
constexpr size_t kComparedPerCluster = 32;

}  // namespace humanizer
