#include "dedup_compare.h"

#include <algorithm>
#include <mutex>
#include <vector>

#include "dedup_sets.h"
#include "dedup_threads.h"

namespace humanizer {
namespace {

constexpr size_t kWindowsPerThread = 2;  // at least, so that none is left alone with a long one

// Gives out the pairs, a window at a time.
class Windows {
 public:
  Windows(Clusters& clusters, std::span<const Candidate> pairs, const Corpus& corpus, double threshold, size_t room,
          size_t most)
      : clusters_(clusters),
        pairs_(pairs),
        corpus_(corpus),
        threshold_(threshold),
        room_(room),
        most_(most),
        seen_(clusters.texts()) {}

  // Pairs that have to be compared, and the texts of them whose sets are on disk, in no order. False: none are left.
  bool next(std::vector<Candidate>& pairs, std::vector<uint32_t>& texts) {
    const std::lock_guard lock(mutex_);
    pairs.clear();
    texts.clear();
    size_t bytes = 0;
    for (; at_ < pairs_.size() && pairs.size() < most_; at_++) {
      const auto [a, b] = pairs_[at_];
      if (clusters_.together(a, b) || !corpus_.comparable(a, b) ||
          !sizes_allow(corpus_.size_of(a), corpus_.size_of(b), threshold_))
        continue;
      const size_t wanted = wanted_for(a) + wanted_for(b);
      if (!pairs.empty() && bytes + wanted > room_) break;
      bytes += wanted;
      for (const uint32_t text : {a, b})
        if (wanted_for(text) > 0) {
          seen_[text] = true;
          texts.push_back(text);
        }
      pairs.push_back({a, b});
    }
    for (const uint32_t text : texts) seen_[text] = false;
    return !pairs.empty();
  }

 private:
  size_t wanted_for(uint32_t text) const {
    if (seen_[text]) return 0;
    const StoredSet stored = corpus_.stored(text);
    return stored.bytes ? 0 : stored.count * ShingleSet::kBytes + kPerText;
  }
  static constexpr size_t kPerText = sizeof(uint32_t) + sizeof(ShingleSet);

  std::mutex mutex_;
  Clusters& clusters_;
  std::span<const Candidate> pairs_;
  const Corpus& corpus_;
  double threshold_;
  size_t room_, most_;
  size_t at_ = 0;
  std::vector<bool> seen_;  // texts of the window under way
};

}  // namespace

void compare(Clusters& clusters, std::span<const Candidate> pairs, const Corpus& corpus, double threshold, int threads,
             size_t room, Refused* refused) {
  const size_t parts = static_cast<size_t>(threads);
  const size_t windows = kWindowsPerThread * parts;
  Windows all(clusters, pairs, corpus, threshold, room / parts, (pairs.size() + windows - 1) / windows);
  in_parts(parts, [&](size_t) {
    SetsOf sets(corpus);
    std::vector<Candidate> window;
    std::vector<uint32_t> texts;
    while (all.next(window, texts)) {
      std::sort(texts.begin(), texts.end());
      sets.bring(texts);
      for (const auto& [a, b] : window) {
        if (clusters.together(a, b)) continue;
        if (jaccard(sets[a], sets[b]) > threshold)
          clusters.unite(a, b);
        else if (refused)
          refused->add(a, b);
      }
    }
  });
}

}  // namespace humanizer
