#include "dedup_sets.h"

#include <cstring>

namespace humanizer {
namespace {

// What lies between two sets on disk is read along with them up to so many bytes: it costs less than a read of its own.
constexpr int64_t kGap = 16 << 10;
constexpr int64_t kLongestRead = 1 << 20;
constexpr size_t kReadsAhead = 16;  // that the disk is asked for before they are waited for

}  // namespace

void SetsOf::bring(std::span<const uint32_t> texts) {
  texts_.clear();
  sets_.clear();
  reads_.clear();
  size_t bytes = 0;
  for (const uint32_t text : texts) {
    const StoredSet stored = corpus_.stored(text);
    if (stored.bytes || stored.count == 0) continue;
    const auto own = static_cast<int64_t>(stored.count * ShingleSet::kBytes), end = stored.at + own;
    const auto i = static_cast<uint32_t>(texts_.size());
    texts_.push_back(text);
    bytes += static_cast<size_t>(own);
    if (reads_.empty() || stored.at - reads_.back().end > kGap || end - reads_.back().begin > kLongestRead)
      reads_.push_back({stored.at, end, i, i + 1});
    else
      reads_.back() = {reads_.back().begin, end, reads_.back().first, i + 1};
  }
  if (bytes > most_ || !arena_) {
    arena_.reset();
    arena_ = std::make_unique_for_overwrite<uint8_t[]>((most_ = bytes) + ShingleSet::kSlack);
  }
  uint8_t* to = arena_.get();
  for (size_t i = 0, asked = 0; i < reads_.size(); i++) {
    for (; reads_.size() > 1 && asked < std::min(i + kReadsAhead, reads_.size()); asked++)
      corpus_.file()->will_read(reads_[asked].begin, static_cast<size_t>(reads_[asked].end - reads_[asked].begin));
    to = read(reads_[i], to);
  }
}

uint8_t* SetsOf::read(const Read& read, uint8_t* to) {
  const auto count = static_cast<size_t>(read.end - read.begin);
  const bool whole = read.last - read.first == 1;
  if (!whole && room_.size() < count) room_.resize(count);
  uint8_t* bytes = whole ? to : room_.data();
  corpus_.file()->read(bytes, read.begin, count);
  for (uint32_t i = read.first; i < read.last; i++) {
    const StoredSet stored = corpus_.stored(texts_[i]);
    const size_t own = stored.count * ShingleSet::kBytes;
    if (!whole) std::memcpy(to, bytes + (stored.at - read.begin), own);
    sets_.emplace_back(to, stored.count);
    to += own;
  }
  return to;
}

ShingleSet SetsOf::operator[](uint32_t text) const {
  const StoredSet stored = corpus_.stored(text);
  if (stored.bytes || stored.count == 0) return {stored.bytes, stored.count};
  return sets_[static_cast<size_t>(std::lower_bound(texts_.begin(), texts_.end(), text) - texts_.begin())];
}

}  // namespace humanizer
