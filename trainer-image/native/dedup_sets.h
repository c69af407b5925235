// Sets of many texts at once: those on disk are read in the order of the disk, neighbours in one go.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dedup_corpus.h"

namespace humanizer {

class SetsOf {
 public:
  explicit SetsOf(const Corpus& corpus) : corpus_(corpus) {}

  // texts: ascending. Their sets are at hand until the next call.
  void bring(std::span<const uint32_t> texts);
  ShingleSet operator[](uint32_t text) const;

 private:
  struct Read {
    int64_t begin, end;
    uint32_t first, last;  // of texts_: whose sets are in it
  };
  uint8_t* read(const Read& read, uint8_t* to);

  const Corpus& corpus_;
  std::vector<uint32_t> texts_;   // those whose sets are on disk
  std::vector<ShingleSet> sets_;  // theirs
  std::vector<Read> reads_;
  std::unique_ptr<uint8_t[]> arena_;
  size_t most_ = 0;  // bytes that it has room for
  std::vector<uint8_t> room_;
};

// Calls take(text, set) for each text, which ascend.
template <typename Take>
void each_set(const Corpus& corpus, std::span<const uint32_t> texts, const Take& take) {
  constexpr size_t kAtOnce = 256;
  SetsOf sets(corpus);
  for (size_t at = 0; at < texts.size(); at += kAtOnce) {
    const auto some = texts.subspan(at, std::min(kAtOnce, texts.size() - at));
    sets.bring(some);
    for (const uint32_t text : some) take(text, sets[text]);
  }
}

}  // namespace humanizer
