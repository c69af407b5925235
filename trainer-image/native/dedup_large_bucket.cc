#include "dedup_large_bucket.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <utility>

#include "dedup_postings.h"
#include "dedup_refused.h"
#include "dedup_sets.h"

namespace humanizer {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};
constexpr size_t kRefusedPerText = 16;

// How often a shingle stands in the bucket, roughly: shingles of equal low bits are counted together. Any function of
// the shingle alone makes an order; this one puts the rare ones first.
class Rarity {
 public:
  using Rank = std::pair<uint32_t, uint64_t>;
  Rarity() = default;
  explicit Rarity(size_t shingles) : counts_(std::bit_ceil(std::clamp<size_t>(shingles, 1, kMost))) {}
  void count(ShingleSet set) {
    for (size_t i = 0; i < set.size(); i++) counts_[set[i] & (counts_.size() - 1)]++;
  }
  Rank rank(uint64_t shingle) const { return {counts_[shingle & (counts_.size() - 1)], shingle}; }

 private:
  static constexpr size_t kMost = size_t{1} << 20;
  std::vector<uint32_t> counts_;
};

bool equal(ShingleSet a, ShingleSet b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * ShingleSet::kBytes) == 0);
}

size_t prefix_length(size_t size, double share) {
  const auto common = static_cast<size_t>(std::max(1.0, std::ceil(share * static_cast<double>(size) * (1 - 1e-12))));
  return size - std::min(size, common) + 1;
}

class LargeBucket {
 public:
  LargeBucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const Corpus& corpus, double threshold,
              size_t room, const std::string& folder)
      : edges_(edges),
        texts_(texts),
        corpus_(corpus),
        threshold_(threshold),
        refused_(kRefusedPerText * texts.size()),
        postings_(room, folder) {}

  void join() {
    find_places();
    parent_.resize(text_of_.size());
    std::iota(parent_.begin(), parent_.end(), 0);
    add_postings();
    postings_.sort();
    for (std::vector<Posting> same; postings_.next(same);) {
      groups_.clear();
      nodes_.clear();
      for (size_t i = 0; same.size() > 1 && i < same.size(); i++) {
        probe(same[i].place);
        if (same[i].indexed) insert(same[i].place);
      }
    }
  }

 private:
  // A text's place is its rank by size, then by ordinal: of two places the lower one is of the smaller text. Of texts
  // with equal sets only the first has a place.

  // Texts of one cluster that have the shingle in hand, as far as they are compared: a list in nodes_.
  struct Group {
    uint32_t first, last, count;
  };
  struct Node {
    uint32_t place, next;
  };

  size_t size_of(uint32_t place) const { return corpus_.size_of(text_of_[place]); }

  // Equal sets need one place. Those that may not be compared with each other follow the first.
  void find_places() {
    std::vector<std::pair<uint64_t, uint32_t>> sums;
    sums.reserve(texts_.size());
    each_set(corpus_, texts_, [&](uint32_t text, ShingleSet set) {
      uint64_t sum = set.size();
      for (size_t i = 0; i < set.size(); i++) sum = (sum ^ set[i]) * 0x9e3779b97f4a7c15ULL;
      sums.emplace_back(sum, text);
    });
    std::sort(sums.begin(), sums.end());
    for (size_t at = 0, end; at < sums.size(); at = end) {
      const uint32_t first = sums[at].second;
      ShingleSet set;
      for (end = at + 1; end < sums.size() && sums[end].first == sums[at].first; end++) {
        const uint32_t text = sums[end].second;
        if (set.empty()) set = corpus_.set_of(first, room_a_);
        if (!equal(set, corpus_.set_of(text, room_b_)))
          text_of_.push_back(text);
        else if (corpus_.comparable(first, text))
          edges_.emplace_back(first, text);
        else
          followers_.emplace_back(first, text);
      }
      text_of_.push_back(first);
    }
    std::sort(followers_.begin(), followers_.end());
    std::sort(text_of_.begin(), text_of_.end());
    size_t shingles = 0;
    for (const uint32_t text : text_of_) shingles += corpus_.size_of(text);
    rarity_ = Rarity(shingles);
    each_set(corpus_, text_of_, [&](uint32_t, ShingleSet set) { rarity_.count(set); });
    std::stable_sort(text_of_.begin(), text_of_.end(),
                     [&](uint32_t a, uint32_t b) { return corpus_.size_of(a) < corpus_.size_of(b); });
  }

  void add_postings() {
    std::vector<std::pair<uint32_t, uint32_t>> places;  // of the texts as they lie in memory or on disk
    places.reserve(text_of_.size());
    for (uint32_t place = 0; place < text_of_.size(); place++) places.emplace_back(text_of_[place], place);
    std::sort(places.begin(), places.end());
    std::vector<uint32_t> texts;
    for (const auto& [text, place] : places) texts.push_back(text);
    std::vector<Rarity::Rank> ranks;
    const double t = threshold_;
    auto at = places.begin();
    each_set(corpus_, texts, [&](uint32_t, ShingleSet set) {
      const uint32_t place = (at++)->second;
      ranks.clear();
      for (size_t i = 0; i < set.size(); i++) ranks.push_back(rarity_.rank(set[i]));
      const size_t probed = prefix_length(set.size(), t);
      const size_t indexed = std::min(probed, prefix_length(set.size(), 2 * t / (1 + t)));
      std::nth_element(ranks.begin(), ranks.begin() + probed - 1, ranks.end());
      std::nth_element(ranks.begin(), ranks.begin() + indexed - 1, ranks.begin() + probed);
      for (size_t i = 0; i < probed; i++) postings_.add({ranks[i].second, place, i < indexed});
    });
  }

  void probe(uint32_t place) {
    for (const Group& group : groups_) {
      if (root(nodes_[group.first].place) == root(place)) continue;
      uint32_t node = group.first;
      for (size_t i = 0; i < kComparedPerCluster && node != kNone; i++, node = nodes_[node].next)
        if (are_similar(nodes_[node].place, place)) {
          unite(nodes_[node].place, place);
          break;
        }
    }
  }

  // Groups that have become one cluster become one group.
  void insert(uint32_t place) {
    const auto node = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back({place, kNone});
    Group own{kNone, kNone, 0};
    std::erase_if(groups_, [&](const Group& group) {
      if (root(nodes_[group.first].place) != root(place)) return false;
      if (own.count == 0)
        own = group;
      else if (own.count < kComparedPerCluster)
        own = {own.first, link(own.last, group), own.count + group.count};
      return true;
    });
    if (own.count == 0)
      own = {node, node, 1};
    else if (own.count < kComparedPerCluster)
      own = {own.first, link(own.last, {node, node, 1}), own.count + 1};
    groups_.push_back(own);
  }

  uint32_t link(uint32_t last, const Group& after) {
    nodes_[last].next = after.first;
    return after.last;
  }

  bool are_similar(uint32_t a, uint32_t b) {
    if (!corpus_.comparable(text_of_[a], text_of_[b]) || !sizes_allow(size_of(a), size_of(b), threshold_)) return false;
    if (refused_.has(a, b)) return false;
    if (jaccard(corpus_.set_of(text_of_[a], room_a_), corpus_.set_of(text_of_[b], room_b_)) > threshold_) return true;
    refused_.add(a, b);
    return false;
  }

  void unite(uint32_t a, uint32_t b) {
    edges_.emplace_back(text_of_[a], text_of_[b]);
    for (const auto& [text, with] : {Edge{text_of_[a], text_of_[b]}, Edge{text_of_[b], text_of_[a]}})
      for (auto twin = std::lower_bound(followers_.begin(), followers_.end(), Edge{text, 0});
           twin != followers_.end() && twin->first == text && twin->second != kNone; twin++)
        edges_.emplace_back(std::exchange(twin->second, kNone), with);
    a = root(a);
    b = root(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

  uint32_t root(uint32_t place) {
    while (parent_[place] != place) place = parent_[place] = parent_[parent_[place]];
    return place;
  }

  std::vector<Edge>& edges_;
  std::span<const uint32_t> texts_;
  const Corpus& corpus_;
  double threshold_;
  std::vector<uint32_t> text_of_;  // by place
  std::vector<uint32_t> parent_;   // by place
  std::vector<Edge> followers_;    // (a text with a place, one that is joined when it is), ascending; then kNone
  Rarity rarity_;
  Refused refused_;
  Postings postings_;
  std::vector<Group> groups_;  // of the shingle in hand
  std::vector<Node> nodes_;
  std::vector<uint8_t> room_a_, room_b_;
};

}  // namespace

void join_large_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const Corpus& corpus,
                       double threshold, size_t room, const std::string& folder) {
  LargeBucket(edges, texts, corpus, threshold, room, folder).join();
}

}  // namespace humanizer
