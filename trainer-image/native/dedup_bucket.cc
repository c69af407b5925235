#include "dedup_bucket.h"

#include <algorithm>
#include <numeric>

#include "dedup_large_bucket.h"

namespace humanizer {
namespace {

// Union-find over the places of a bucket.
class Places {
 public:
  explicit Places(size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), 0); }
  uint32_t root(uint32_t place) {
    while (parent_[place] != place) place = parent_[place] = parent_[parent_[place]];
    return place;
  }
  void unite(uint32_t a, uint32_t b) {
    a = root(a);
    b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<uint32_t> parent_;
};

void join_small(std::vector<Edge>& edges, std::span<const uint32_t> texts, const uint32_t* known, const Corpus& corpus,
                double threshold, Refused& refused) {
  Places places(texts.size());
  std::vector<uint8_t> room_a, room_b;
  for (uint32_t j = 1; j < texts.size(); j++) {
    ShingleSet later;
    for (uint32_t i = 0; i < j; i++) {
      const uint32_t a = texts[i], b = texts[j];
      if (places.root(i) == places.root(j) || !is_compared(a, b, known, corpus, threshold, refused)) continue;
      if (later.empty()) later = corpus.set_of(b, room_b);
      if (jaccard(corpus.set_of(a, room_a), later) <= threshold) {
        refused.add(a, b);
        continue;
      }
      places.unite(i, j);
      edges.emplace_back(a, b);
    }
  }
}

}  // namespace

bool is_compared(uint32_t a, uint32_t b, const uint32_t* known, const Corpus& corpus, double threshold,
                 const Refused& refused) {
  return known[a] != known[b] && !refused.has(a, b) && corpus.comparable(a, b) &&
         sizes_allow(corpus.size_of(a), corpus.size_of(b), threshold);
}

bool sizes_allow(size_t a, size_t b, double threshold) {
  return static_cast<double>(std::min(a, b)) > threshold * static_cast<double>(std::max(a, b)) * (1 - 1e-12);
}

void join_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const uint32_t* known, const Corpus& corpus,
                 double threshold, Refused& refused, size_t room) {
  // What is known depends on the number of threads; which pairs a large bucket looks at must not.
  if (texts.size() <= kSmallBucket)
    join_small(edges, texts, known, corpus, threshold, refused);
  else
    join_large_bucket(edges, texts, corpus, threshold, room);
}

}  // namespace humanizer
