#include "dedup_proposals.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace humanizer {
namespace {

constexpr size_t kLeastPairs = 1 << 16;  // of a range, however little memory there is
constexpr int kMostBits = 11;
constexpr size_t kFew = 32;

// Splits `from`, of which place(pair) < 1 << bits, by place into `to`, keeping the order of before; the ends of the
// parts.
template <typename Place>
void split(const uint64_t* from, uint64_t* to, size_t count, int bits, uint32_t* ends, const Place& place) {
  std::fill_n(ends, (size_t{1} << bits) + 1, 0);
  for (size_t i = 0; i < count; i++) ends[place(from[i]) + 1]++;
  for (size_t i = 1; i <= size_t{1} << bits; i++) ends[i] += ends[i - 1];
  for (size_t i = 0; i < count; i++) to[ends[place(from[i])]++] = from[i];
}

// Keys that are equal stand in order already.
void sort_few(uint64_t* pairs, size_t count) {
  if (count > kFew) {
    if (!std::is_sorted(pairs, pairs + count)) std::sort(pairs, pairs + count);
    return;
  }
  for (size_t i = 1; i < count; i++) {
    const uint64_t pair = pairs[i];
    size_t at = i;
    for (; at > 0 && pairs[at - 1] > pair; at--) pairs[at] = pairs[at - 1];
    pairs[at] = pair;
  }
}

}  // namespace

Proposals::Proposals(size_t members, size_t room) {
  const size_t pairs = std::max(kLeastPairs, room / (2 * sizeof(uint64_t)));
  ranges_ = std::max<size_t>(1, (members + pairs - 1) / pairs);
  pairs_.reserve(members / ranges_ + members / ranges_ / 64);
}

void Proposals::begin(size_t range) {
  range_ = range;
  at_ = 0;
  pairs_.clear();
}

void Proposals::add(const uint8_t* keys, const std::vector<uint32_t>& texts) {
  for (size_t i = 0; i < texts.size(); i++) {
    uint32_t key;
    std::memcpy(&key, keys + i * sizeof key, sizeof key);
    if (ranges_ == 1 || (key * ranges_) >> 32 == range_) pairs_.push_back(uint64_t{key} << 32 | texts[i]);
  }
}

// Keys are spread evenly over the range, so that their upper bits say almost where each belongs: into parts that the
// processor's cache holds first, then within each.
void Proposals::sort() {
  const size_t count = pairs_.size();
  other_.resize(count);
  const auto place = [&](uint64_t pair) { return (pair >> 32) * ranges_ & ~uint32_t{0}; };
  std::array<uint32_t, (1 << kMostBits) + 1> ends, inner;
  const int bits = std::clamp<int>(std::bit_width(count) - kMostBits, 0, kMostBits);
  split(pairs_.data(), other_.data(), count, bits, ends.data(),
        [&](uint64_t pair) { return place(pair) >> (32 - bits); });
  for (size_t part = 0; part < size_t{1} << bits; part++) {
    const size_t begin = part == 0 ? 0 : ends[part - 1], own = ends[part] - begin;
    const int more = std::clamp<int>(std::bit_width(own), 1, kMostBits);
    split(other_.data() + begin, pairs_.data() + begin, own, more, inner.data(),
          [&](uint64_t pair) { return static_cast<uint32_t>(place(pair) << bits) >> (32 - more); });
    for (size_t i = 0; i < size_t{1} << more; i++) {
      const size_t first = i == 0 ? 0 : inner[i - 1];
      sort_few(pairs_.data() + begin + first, inner[i] - first);
    }
  }
}

bool Proposals::next(std::vector<uint32_t>& texts) {
  for (size_t end; at_ < pairs_.size(); at_ = end) {
    for (end = at_ + 1; end < pairs_.size() && pairs_[end] >> 32 == pairs_[at_] >> 32;) end++;
    if (end - at_ < 2) continue;
    texts.clear();
    for (; at_ < end; at_++) texts.push_back(static_cast<uint32_t>(pairs_[at_]));
    return true;
  }
  return false;
}

}  // namespace humanizer
