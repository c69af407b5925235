#include "dedup.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <numeric>
#include <stdexcept>

#include "backend.h"
#include "dedup_proposals.h"
#include "dedup_threads.h"

namespace humanizer {
namespace {

constexpr size_t kFewWords = 20;
constexpr int kShortShingle = 3;
constexpr size_t kBucketsAhead = 64;  // whose sets the disk is asked for before the first of them is compared

uint32_t root_of(std::vector<uint32_t>& parent, uint32_t text) {
  while (parent[text] != text) text = parent[text] = parent[parent[text]];
  return text;
}

// The smaller ordinal becomes the root, so that a root is always the first text of its cluster.
void unite(std::vector<uint32_t>& parent, uint32_t a, uint32_t b) {
  a = root_of(parent, a);
  b = root_of(parent, b);
  parent[std::max(a, b)] = std::min(a, b);
}

void append(std::vector<uint32_t>& to, const std::vector<uint32_t>& from, uint32_t plus) {
  for (const uint32_t value : from) to.push_back(value + plus);
}

}  // namespace

// ---------------------------------------------------------------------------------------------------------------------
// adding

NearDuplicates::NearDuplicates(double threshold, int shingle_words, int threads, size_t memory_bytes,
                               std::string folder)
    : threshold_(threshold),
      words_{std::min(kShortShingle, shingle_words), shingle_words},
      threads_(threads),
      folder_(std::move(folder)) {
  if (!(threshold > 0 && threshold <= 1))
    throw std::invalid_argument("threshold is " + std::to_string(threshold) + "; expected more than 0 and at most 1");
  if (shingle_words < 1)
    throw std::invalid_argument("shingleWords is " + std::to_string(shingle_words) + "; expected at least 1");
  if (threads < 1) throw std::invalid_argument("threads is " + std::to_string(threads) + "; expected at least 1");
  if (!folder_.empty()) memory_bytes_ = memory_bytes;
}

size_t NearDuplicates::Batch::resident() const {
  return sets.resident() + keys[kShort].resident() + keys[kLong].resident();
}

// What one thread makes of its share of a call: as Batch, the keys by member, then by band.
struct NearDuplicates::Part {
  std::vector<uint32_t> begins;
  std::vector<uint8_t> sets;
  std::vector<uint32_t> members[kScales];
  std::vector<uint32_t> keys[kScales];
};

NearDuplicates::Part NearDuplicates::describe(std::string_view bytes, const uint32_t* ends, size_t begin,
                                              size_t end) const {
  MinHashOp& min_hash = *cpu_backend().min_hash;
  Sketcher sketcher;
  Part part;
  size_t shingles = 0;
  for (size_t i = begin; i < end; i++) {
    const size_t start = i == 0 ? 0 : ends[i - 1];
    sketcher.read(bytes.substr(start, ends[i] - start));
    const size_t words = sketcher.words();
    const bool wanted[kScales] = {words > 0 && words < 2 * kFewWords, words >= kFewWords};
    for (int scale = 0; scale < kScales; scale++) {
      part.begins.push_back(static_cast<uint32_t>(shingles));
      if (!wanted[scale]) continue;
      sketcher.shingle(static_cast<size_t>(words_[scale]));
      sketcher.append_set(part.sets);
      shingles += sketcher.size();
      part.members[scale].push_back(static_cast<uint32_t>(i));
      part.keys[scale].resize(part.keys[scale].size() + kBands);
      sketcher.band_keys(part.keys[scale].data() + part.keys[scale].size() - kBands, min_hash);
    }
  }
  return part;
}

void NearDuplicates::add(std::string_view bytes, const uint32_t* ends, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (ends[i] > bytes.size() || (i > 0 && ends[i] < ends[i - 1]))
      throw std::invalid_argument("ends[" + std::to_string(i) + "] is " + std::to_string(ends[i]) +
                                  "; expected ascending offsets of at most " + std::to_string(bytes.size()));
  if (texts_ + count > std::numeric_limits<uint32_t>::max()) throw std::invalid_argument("more than 4294967295 texts");
  const size_t parts = std::min<size_t>(threads_, count);
  std::vector<Part> described(parts);
  in_parts(parts, [&](size_t part) {
    described[part] = describe(bytes, ends, count * part / parts, count * (part + 1) / parts);
  });

  Batch batch;
  batch.first = static_cast<uint32_t>(texts_);
  size_t set_bytes = 0, members[kScales] = {0, 0};
  for (const Part& part : described) {
    set_bytes += part.sets.size();
    for (int scale = 0; scale < kScales; scale++) members[scale] += part.members[scale].size();
  }
  if (set_bytes / ShingleSet::kBytes > std::numeric_limits<uint32_t>::max())
    throw std::invalid_argument("more than 4294967295 words at once");
  batch.begins.reserve(2 * count + 1);
  batch.sets = Block(set_bytes);
  for (int scale = 0; scale < kScales; scale++) {
    batch.members[scale].reserve(members[scale]);
    batch.keys[scale] = Block(members[scale] * kBands * sizeof(uint32_t));
  }
  size_t at = 0;
  for (Part& part : described) {
    append(batch.begins, part.begins, static_cast<uint32_t>(at / ShingleSet::kBytes));
    if (!part.sets.empty()) std::memcpy(batch.sets.data() + at, part.sets.data(), part.sets.size());
    at += part.sets.size();
    for (int scale = 0; scale < kScales; scale++) {
      const size_t before = batch.members[scale].size(), own = part.members[scale].size();
      append(batch.members[scale], part.members[scale], batch.first);
      auto* keys = reinterpret_cast<uint32_t*>(batch.keys[scale].data());
      for (int band = 0; band < kBands; band++)
        for (size_t i = 0; i < own; i++) keys[band * members[scale] + before + i] = part.keys[scale][i * kBands + band];
    }
    part = {};
  }
  batch.begins.push_back(static_cast<uint32_t>(at / ShingleSet::kBytes));
  resident_ += batch.resident();
  firsts_.push_back(batch.first);
  batches_.push_back(std::move(batch));
  texts_ += count;
  if (folder_.empty() || resident_ <= memory_bytes_ / 8 * 5) return;
  spill();
}

// The keys go to disk by band, those of all batches together: a band is read in one go.
void NearDuplicates::spill() {
  if (!file_) file_ = std::make_unique<SpillFile>(folder_);
  const auto from = std::find_if(batches_.begin(), batches_.end(), [](const Batch& batch) { return !batch.spilled; });
  for (auto batch = from; batch != batches_.end(); batch++) batch->sets.move_to(*file_);
  for (const Scale scale : {kShort, kLong}) {
    size_t apart = 0;
    for (auto batch = from; batch != batches_.end(); batch++) apart += batch->members[scale].size() * sizeof(uint32_t);
    for (int band = 0; band < kBands; band++)
      for (auto batch = from; batch != batches_.end(); batch++) {
        const size_t bytes = batch->members[scale].size() * sizeof(uint32_t);
        const int64_t at = file_->append(batch->keys[scale].data() + static_cast<size_t>(band) * bytes, bytes);
        if (band == 0) batch->keys_at[scale] = at;
      }
    for (auto batch = from; batch != batches_.end(); batch++) {
      batch->keys[scale] = Block();
      batch->apart[scale] = apart;
    }
  }
  for (auto batch = from; batch != batches_.end(); batch++) batch->spilled = true;
  resident_ = 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// clusters

const NearDuplicates::Batch& NearDuplicates::batch_of(uint32_t text) const {
  return batches_[static_cast<size_t>(std::upper_bound(firsts_.begin(), firsts_.end(), text) - firsts_.begin()) - 1];
}

// The sets of one scale, as a bucket is searched.
class NearDuplicates::View final : public Corpus {
 public:
  View(const NearDuplicates& all, Scale scale) : all_(all), scale_(scale) {}

  ShingleSet set_of(uint32_t text, std::vector<uint8_t>& room) const override {
    const Batch& batch = all_.batch_of(text);
    const auto [begin, end] = bounds(batch, text, scale_);
    constexpr size_t bytes = ShingleSet::kBytes;
    return {batch.sets.read(begin * bytes, (end - begin) * bytes, room), end - begin};
  }

  size_t size_of(uint32_t text) const override {
    const auto [begin, end] = bounds(all_.batch_of(text), text, scale_);
    return end - begin;
  }

  // Two texts of 20 words or more are compared by their long shingles only.
  bool comparable(uint32_t a, uint32_t b) const override { return scale_ == kLong || few_words(a) || few_words(b); }

  // The sets of a bucket that will be looked at.
  void will_read(std::span<const uint32_t> texts, const uint32_t* known, double threshold,
                 const Refused& refused) const {
    if (texts.size() > kSmallBucket) return;
    uint64_t wanted = 0;  // a bit for each text
    static_assert(kSmallBucket <= 64);
    for (size_t j = 1; j < texts.size(); j++)
      for (size_t i = 0; i < j; i++)
        if (is_compared(texts[i], texts[j], known, *this, threshold, refused))
          wanted |= uint64_t{1} << i | uint64_t{1} << j;
    for (; wanted != 0; wanted &= wanted - 1) {
      const uint32_t text = texts[std::countr_zero(wanted)];
      const Batch& batch = all_.batch_of(text);
      const auto [begin, end] = bounds(batch, text, scale_);
      batch.sets.will_read(begin * ShingleSet::kBytes, (end - begin) * ShingleSet::kBytes);
    }
  }

 private:
  static std::pair<size_t, size_t> bounds(const Batch& batch, uint32_t text, Scale scale) {
    const uint32_t* begin = batch.begins.data() + 2 * (text - batch.first) + scale;
    return {begin[0], begin[1]};
  }
  bool few_words(uint32_t text) const {
    const auto [begin, end] = bounds(all_.batch_of(text), text, kLong);
    return begin == end;
  }

  const NearDuplicates& all_;
  Scale scale_;
};

// Of all members of the batch; in memory, or brought into `room`.
const uint8_t* NearDuplicates::keys_of(const Batch& batch, Scale scale, int band, std::vector<uint8_t>& room) const {
  const size_t bytes = batch.members[scale].size() * sizeof(uint32_t);
  if (!batch.spilled) return batch.keys[scale].read(static_cast<size_t>(band) * bytes, bytes, room);
  room.resize(bytes);
  file_->read(room.data(), batch.keys_at[scale] + static_cast<int64_t>(band * batch.apart[scale]), bytes);
  return room.data();
}

size_t NearDuplicates::members(Scale scale) const {
  size_t count = 0;
  for (const Batch& batch : batches_) count += batch.members[scale].size();
  return count;
}

// Appends the pairs that the band proposes and that are similar. The keys are sorted in as many passes, each over a
// range of them, as the memory for it asks. Some buckets at a time, so that the disk has many sets to look for.
void NearDuplicates::join_band(std::vector<Edge>& edges, Scale scale, int band, const uint32_t* known,
                               Refused& refused) const {
  static std::mutex one_large_bucket;  // its index takes an eighth of the memory
  const View view(*this, scale);
  const size_t room = memory_bytes_ / 4 / static_cast<size_t>(threads_);
  const size_t passes = Proposals::passes(members(scale), room);
  Proposals proposals;
  std::vector<std::vector<uint32_t>> ahead(file_ ? kBucketsAhead : 1);
  std::vector<uint8_t> keys;
  for (size_t pass = 0; pass < passes; pass++) {
    proposals.begin(pass, passes);
    for (const Batch& batch : batches_) proposals.add(keys_of(batch, scale, band, keys), batch.members[scale]);
    proposals.sort();
    for (size_t found = ahead.size(); found == ahead.size();) {
      for (found = 0; found < ahead.size() && proposals.next(ahead[found]); found++)
        if (file_) view.will_read(ahead[found], known, threshold_, refused);
      for (size_t i = 0; i < found; i++) {
        std::unique_lock<std::mutex> turn(one_large_bucket, std::defer_lock);
        if (ahead[i].size() > kSmallBucket) turn.lock();
        join_bucket(edges, ahead[i], known, view, threshold_, refused, memory_bytes_ / 8);
      }
    }
  }
}

std::vector<uint32_t> NearDuplicates::clusters() const {
  std::vector<uint32_t> parent(texts_);
  std::iota(parent.begin(), parent.end(), 0);
  for (const Scale scale : {kShort, kLong}) {
    if (members(scale) < 2) continue;
    std::vector<Refused> refused(std::min(threads_, kBands));
    for (int band = 0; band < kBands; band += threads_) {
      const int width = std::min(threads_, kBands - band);
      std::vector<std::vector<Edge>> found(width);
      in_parts(width, [&](size_t part) {
        join_band(found[part], scale, band + static_cast<int>(part), parent.data(), refused[part]);
      });
      for (const std::vector<Edge>& edges : found)
        for (const auto& [a, b] : edges) unite(parent, a, b);
      for (uint32_t text = 0; text < parent.size(); text++) parent[text] = root_of(parent, text);
    }
  }
  return parent;
}

}  // namespace humanizer
