#include "dedup.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <stdexcept>

#include "backend.h"
#include "dedup_compare.h"
#include "dedup_large_bucket.h"
#include "dedup_proposals.h"
#include "dedup_threads.h"

namespace humanizer {
namespace {

constexpr size_t kFewWords = 20;
constexpr int kShortShingle = 3;
// Without a limit of memory, pairs are compared when there are so many of them.
constexpr size_t kPairsPerText = 2;

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
  const size_t from = begin == 0 ? 0 : ends[begin - 1];
  part.sets.reserve(end > begin ? ends[end - 1] - from : 0);  // a word is about as long as a shingle
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
  // Once the memory for sets is full they go to disk at once.
  const bool on_disk = set_bytes_ + set_bytes > memory_bytes_ / 8 * 3;
  if (on_disk && !file_) file_ = std::make_unique<SpillFile>(folder_);
  if (!on_disk) batch.sets = Block(set_bytes);
  batch.sets_at = static_cast<int64_t>(spilled());
  for (int scale = 0; scale < kScales; scale++) {
    batch.members[scale].reserve(members[scale]);
    batch.keys[scale] = Block(members[scale] * kBands * sizeof(uint32_t));
  }
  size_t at = 0;
  for (Part& part : described) {
    append(batch.begins, part.begins, static_cast<uint32_t>(at / ShingleSet::kBytes));
    if (on_disk)
      file_->append(part.sets.data(), part.sets.size());
    else if (!part.sets.empty())
      std::memcpy(batch.sets.data() + at, part.sets.data(), part.sets.size());
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
  if (on_disk)
    file_->begin_writing();
  else
    set_bytes_ += set_bytes;
  key_bytes_ += (members[kShort] + members[kLong]) * kBands * sizeof(uint32_t);
  firsts_.push_back(batch.first);
  batches_.push_back(std::move(batch));
  texts_ += count;
  if (key_bytes_ > memory_bytes_ / 8) spill_keys();
}

// By band, those of all batches together: a band is read in long runs.
void NearDuplicates::spill_keys() {
  if (!file_) file_ = std::make_unique<SpillFile>(folder_);
  const auto from = batches_.begin() + static_cast<ptrdiff_t>(keys_from_);
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
  file_->begin_writing();
  keys_from_ = batches_.size();
  key_bytes_ = 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// clusters

const NearDuplicates::Batch& NearDuplicates::batch_of(uint32_t text) const {
  return batches_[static_cast<size_t>(std::upper_bound(firsts_.begin(), firsts_.end(), text) - firsts_.begin()) - 1];
}

// The sets of one scale.
class NearDuplicates::View final : public Corpus {
 public:
  View(const NearDuplicates& all, Scale scale) : all_(all), scale_(scale) {}

  StoredSet stored(uint32_t text) const override {
    const Batch& batch = all_.batch_of(text);
    const auto [begin, end] = bounds(batch, text, scale_);
    const size_t at = begin * ShingleSet::kBytes;
    const uint8_t* sets = batch.sets.data();
    return {sets ? sets + at : nullptr, batch.sets_at + static_cast<int64_t>(at), end - begin};
  }

  // Two texts of 20 words or more are compared by their long shingles only.
  bool comparable(uint32_t a, uint32_t b) const override { return scale_ == kLong || few_words(a) || few_words(b); }

  const SpillFile* file() const override { return all_.file_.get(); }

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

// Of all members of the batch.
const uint8_t* NearDuplicates::keys_of(const Batch& batch, Scale scale, int band, ReadAhead& disk) const {
  const size_t bytes = batch.members[scale].size() * sizeof(uint32_t);
  if (batch.keys[scale].data()) return batch.keys[scale].data() + static_cast<size_t>(band) * bytes;
  return bytes == 0 ? nullptr
                    : disk.read(*file_, batch.keys_at[scale] + static_cast<int64_t>(band * batch.apart[scale]), bytes);
}

size_t NearDuplicates::members(Scale scale) const {
  size_t count = 0;
  for (const Batch& batch : batches_) count += batch.members[scale].size();
  return count;
}

// What a thread needs to go through bands.
struct NearDuplicates::Search {
  Proposals proposals;
  Candidates candidates;
  ReadAhead disk;
  std::vector<uint32_t> texts;  // of a bucket
};

// Gathers the pairs that the band proposes; those of a large bucket are united at once. The keys are sorted in as many
// ranges as the memory for it asks.
void NearDuplicates::join_band(Search& search, Clusters& clusters, Scale scale, int band) const {
  static std::mutex one_at_a_time;  // of what takes an eighth of the memory
  const View view(*this, scale);
  auto& [proposals, candidates, disk, texts] = search;
  for (size_t range = 0; range < proposals.ranges(); range++) {
    proposals.begin(range);
    for (const Batch& batch : batches_) proposals.add(keys_of(batch, scale, band, disk), batch.members[scale]);
    proposals.sort();
    while (proposals.next(texts)) {
      if (texts.size() > kSmallBucket) {
        const std::lock_guard turn(one_at_a_time);
        std::vector<Edge> edges;
        // What is known depends on the threads' turns; which pairs a large bucket looks at must not.
        join_large_bucket(edges, texts, view, threshold_, memory_bytes_ / 8, folder_);
        for (const auto& [a, b] : edges) clusters.unite(a, b);
        continue;
      }
      for (size_t j = 1; j < texts.size(); j++)
        for (size_t i = 0; i < j; i++)
          if (!clusters.together(texts[i], texts[j])) candidates.add(texts[i], texts[j]);
      if (!candidates.full()) continue;
      const std::lock_guard turn(one_at_a_time);
      compare(clusters, candidates.sorted(), view, threshold_, 1, memory_bytes_ / 8, &candidates.refused());
      candidates.clear();
    }
  }
}

std::vector<uint32_t> NearDuplicates::clusters() const {
  Clusters clusters(texts_);
  const auto parts = static_cast<size_t>(std::min(threads_, kBands));
  const size_t room = std::min(memory_bytes_ / 8, 2 * kPairsPerText * sizeof(Candidate) * texts_);
  for (const Scale scale : {kShort, kLong}) {
    const size_t count = members(scale);
    if (count < 2) continue;
    std::vector<Candidates> found(parts, Candidates(room / parts));
    std::atomic<int> next = 0;
    in_parts(parts, [&](size_t part) {
      Search search{Proposals(count, memory_bytes_ / 4 / parts), std::move(found[part]), {}, {}};
      for (int band; (band = next++) < kBands;) join_band(search, clusters, scale, band);
      search.candidates.sorted();
      found[part] = std::move(search.candidates);
    });
    for (size_t part = 1; part < parts; part++) found[0].take(std::move(found[part]));
    compare(clusters, found[0].sorted(), View(*this, scale), threshold_, threads_, memory_bytes_ / 4, nullptr);
  }
  return std::move(clusters).firsts();
}

}  // namespace humanizer
