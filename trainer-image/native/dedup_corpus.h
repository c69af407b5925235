// The sets of all texts, as they are looked at when pairs are compared.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dedup_sketch.h"
#include "dedup_store.h"

namespace humanizer {

// `count` shingles, in memory or, if bytes is null, on disk from `at` on.
struct StoredSet {
  const uint8_t* bytes;
  int64_t at;
  size_t count;
};

// Texts by their ordinals. On disk their sets lie in the order of the texts.
class Corpus {
 public:
  virtual StoredSet stored(uint32_t text) const = 0;
  virtual bool comparable(uint32_t a, uint32_t b) const = 0;
  // Null when all sets are in memory.
  virtual const SpillFile* file() const = 0;

  size_t size_of(uint32_t text) const { return stored(text).count; }

  // The set itself: in memory, or brought into `room`.
  ShingleSet set_of(uint32_t text, std::vector<uint8_t>& room) const {
    const StoredSet set = stored(text);
    if (set.bytes) return {set.bytes, set.count};
    const size_t bytes = set.count * ShingleSet::kBytes;
    room.resize(bytes + ShingleSet::kSlack);
    if (bytes > 0) file()->read(room.data(), set.at, bytes);
    return {room.data(), set.count};
  }

 protected:
  ~Corpus() = default;
};

}  // namespace humanizer
