// The similar pairs among texts that share a band key. A small bucket is compared pair by pair, a large one as
// dedup_large_bucket.h says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "dedup_refused.h"
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
// cluster counts as not similar to that cluster. `refused` is of earlier calls with the same
// corpus and threshold; `room`: bytes for the index of a large bucket (dedup_large_bucket.h).
void join_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const uint32_t* known, const Corpus& corpus,
                 double threshold, Refused& refused, size_t room);

// Whether join_bucket compares the sets of two texts of a small bucket, of which `known` and `refused` are as there.
bool is_compared(uint32_t a, uint32_t b, const uint32_t* known, const Corpus& corpus, double threshold,
                 const Refused& refused);

// J can not pass the quotient of the sizes. The margin is for the rounding of threshold * size.
bool sizes_allow(size_t a, size_t b, double threshold);

constexpr size_t kSmallBucket = 48;
constexpr size_t kComparedPerCluster = 32;

}  // namespace humanizer
