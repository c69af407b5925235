#include "dedup_bucket.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <unordered_map>

namespace humanizer {
namespace {

// J can not pass the quotient of the sizes. The margin is for the rounding of threshold * size.
bool sizes_allow(size_t a, size_t b, double threshold) {
  return static_cast<double>(std::min(a, b)) > threshold * static_cast<double>(std::max(a, b)) * (1 - 1e-12);
}

bool similar(ShingleSet a, ShingleSet b, double threshold) { return jaccard(a, b) > threshold; }

bool equal(ShingleSet a, ShingleSet b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * ShingleSet::kBytes) == 0);
}

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
                double threshold) {
  Places places(texts.size());
  std::vector<uint8_t> room_a, room_b;
  for (uint32_t j = 1; j < texts.size(); j++) {
    ShingleSet later;
    for (uint32_t i = 0; i < j; i++) {
      const uint32_t a = texts[i], b = texts[j];
      if (!corpus.comparable(a, b) || known[a] == known[b] || places.root(i) == places.root(j)) continue;
      if (!sizes_allow(corpus.size_of(a), corpus.size_of(b), threshold)) continue;
      if (later.empty()) later = corpus.set_of(b, room_b);
      if (!similar(corpus.set_of(a, room_a), later, threshold)) continue;
      places.unite(i, j);
      edges.emplace_back(a, b);
    }
  }
}

// How often a shingle stands in the bucket, roughly: shingles of equal low bits are counted together. Any function of
// the shingle alone makes an order; this one puts the rare ones first.
class Rarity {
 public:
  void count(ShingleSet set) {
    for (size_t i = 0; i < set.size(); i++) counts_[set[i] & kMask]++;
  }
  std::pair<uint32_t, uint64_t> rank(uint64_t shingle) const { return {counts_[shingle & kMask], shingle}; }

 private:
  static constexpr size_t kMask = (1 << 20) - 1;
  std::vector<uint32_t> counts_ = std::vector<uint32_t>(kMask + 1);
};

size_t prefix_length(size_t size, double share) {
  const auto common = static_cast<size_t>(std::max(1.0, std::ceil(share * static_cast<double>(size) * (1 - 1e-12))));
  return size - std::min(size, common) + 1;
}

class LargeBucket {
 public:
  LargeBucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const Corpus& corpus, double threshold)
      : edges_(edges),
        texts_(texts),
        corpus_(corpus),
        threshold_(threshold),
        places_(texts.size()),
        seen_(texts.size()),
        twins_(texts.size()) {}

  void join() {
    std::vector<uint32_t> order;
    std::unordered_map<uint64_t, uint32_t> first_of;
    for (uint32_t place = 0; place < texts_.size(); place++) {
      const ShingleSet set = corpus_.set_of(texts_[place], room_a_);
      if (is_twin(place, set, first_of)) continue;
      rarity_.count(set);
      order.push_back(place);
    }
    // Ascending size: what is indexed is never the larger one.
    std::stable_sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return size_of(a) < size_of(b); });
    const double t = threshold_;
    for (const uint32_t place : order) {
      const ShingleSet set = corpus_.set_of(texts_[place], room_a_);
      std::vector<uint64_t> ranked(set.size());
      for (size_t i = 0; i < set.size(); i++) ranked[i] = set[i];
      const size_t probed = prefix_length(set.size(), t), indexed = prefix_length(set.size(), 2 * t / (1 + t));
      std::partial_sort(ranked.begin(), ranked.begin() + probed, ranked.end(),
                        [&](uint64_t a, uint64_t b) { return rarity_.rank(a) < rarity_.rank(b); });
      for (size_t i = 0; i < probed; i++) probe(place, set, ranked[i]);
      for (size_t i = 0; i < std::min(indexed, probed); i++) insert(place, ranked[i]);
    }
  }

 private:
  // Places of one cluster, as far as they are compared.
  using Group = std::vector<uint32_t>;

  size_t size_of(uint32_t place) const { return corpus_.size_of(texts_[place]); }
  bool comparable(uint32_t a, uint32_t b) const { return corpus_.comparable(texts_[a], texts_[b]); }

  // Equal sets need one place in the index. Those that may not be compared with each other follow the first.
  bool is_twin(uint32_t place, ShingleSet set, std::unordered_map<uint64_t, uint32_t>& first_of) {
    uint64_t sum = set.size();
    for (size_t i = 0; i < set.size(); i++) sum = (sum ^ set[i]) * 0x9e3779b97f4a7c15ULL;
    const auto [entry, fresh] = first_of.emplace(sum, place);
    if (fresh) return false;
    const uint32_t first = entry->second;
    const ShingleSet other = corpus_.set_of(texts_[first], room_b_);
    if (!equal(set, other)) return false;
    if (comparable(first, place))
      unite(first, place);
    else
      twins_[first].push_back(place);
    return true;
  }

  void unite(uint32_t a, uint32_t b) {
    places_.unite(a, b);
    edges_.emplace_back(texts_[a], texts_[b]);
    for (const auto& [of, with] : {Edge{a, b}, Edge{b, a}}) {
      const Group followers = std::move(twins_[of]);
      twins_[of].clear();
      for (const uint32_t twin : followers) unite(twin, with);
    }
  }

  void probe(uint32_t place, ShingleSet set, uint64_t shingle) {
    const auto list = index_.find(shingle);
    if (list == index_.end()) return;
    for (const Group& group : list->second) {
      if (places_.root(group.front()) == places_.root(place)) continue;
      for (const uint32_t other : group) {
        if (seen_[other] == place + 1) continue;
        seen_[other] = place + 1;
        if (!comparable(other, place) || !sizes_allow(size_of(other), set.size(), threshold_)) continue;
        if (!similar(corpus_.set_of(texts_[other], room_b_), set, threshold_)) continue;
        unite(other, place);
        break;
      }
    }
  }

  // Groups that have become one cluster become one group.
  void insert(uint32_t place, uint64_t shingle) {
    std::vector<Group>& list = index_[shingle];
    Group own;
    std::erase_if(list, [&](Group& group) {
      if (places_.root(group.front()) != places_.root(place)) return false;
      own.insert(own.end(), group.begin(), group.end());
      return true;
    });
    own.push_back(place);
    if (own.size() > kComparedPerCluster) own.resize(kComparedPerCluster);
    list.push_back(std::move(own));
  }

  std::vector<Edge>& edges_;
  std::span<const uint32_t> texts_;
  const Corpus& corpus_;
  double threshold_;
  Places places_;
  std::vector<uint32_t> seen_;  // by place: 1 + the place that it was last compared with
  std::vector<Group> twins_;    // by place: places of equal sets that are joined when it is
  std::unordered_map<uint64_t, std::vector<Group>> index_;
  Rarity rarity_;
  std::vector<uint8_t> room_a_, room_b_;
};

}  // namespace

void join_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const uint32_t* known, const Corpus& corpus,
                 double threshold) {
  // What is known depends on the number of threads; which pairs a large bucket looks at must not.
  if (texts.size() <= kSmallBucket)
    join_small(edges, texts, known, corpus, threshold);
  else
    LargeBucket(edges, texts, corpus, threshold).join();
}

}  // namespace humanizer
