#include "dedup.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "dedup_sketch.h"

namespace humanizer {
namespace {

constexpr size_t kFewWords = 20;
constexpr int kShortShingle = 3;

// ---------------------------------------------------------------------------------------------------------------------
// the file

[[noreturn]] void fail(const std::string& what) { throw std::system_error(errno, std::generic_category(), what); }

int nameless_file(const std::string& folder) {
  std::string path = folder + "/near-duplicates-XXXXXX";
  const int file = mkostemp(path.data(), O_CLOEXEC);
  if (file < 0) fail("a file in " + folder);
  unlink(path.c_str());
  return file;
}

template <typename T>
void write_at(int file, int64_t at, const std::vector<T>& values) {
  const char* from = reinterpret_cast<const char*>(values.data());
  for (size_t left = values.size() * sizeof(T); left > 0;) {
    const ssize_t done = pwrite(file, from, left, at);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("writing what is known of the texts");
    from += done;
    at += done;
    left -= done;
  }
}

template <typename T>
void read_at(int file, int64_t at, T* values, size_t count) {
  char* to = reinterpret_cast<char*>(values);
  for (size_t left = count * sizeof(T); left > 0;) {
    const ssize_t done = pread(file, to, left, at);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) fail("reading what is known of the texts");
    to += done;
    at += done;
    left -= done;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// threads and clusters

// Calls body(part) for each part on a thread of its own; rethrows the first error. Parts for which the system gives no
// thread run on the calling one.
template <typename Body>
void in_parts(size_t parts, const Body& body) {
  std::vector<std::exception_ptr> errors(parts);
  const auto run = [&](size_t part) {
    try {
      body(part);
    } catch (...) {
      errors[part] = std::current_exception();
    }
  };
  std::vector<std::thread> workers;
  workers.reserve(parts);
  size_t given = 1;
  try {
    for (; given < parts; given++) workers.emplace_back(run, given);
  } catch (const std::exception&) {
  }
  if (parts > 0) run(0);
  for (size_t part = given; part < parts; part++) run(part);
  for (std::thread& worker : workers) worker.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

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
      memory_bytes_(memory_bytes),
      folder_(std::move(folder)) {
  if (!(threshold > 0 && threshold <= 1))
    throw std::invalid_argument("threshold is " + std::to_string(threshold) + "; expected more than 0 and at most 1");
  if (shingle_words < 1)
    throw std::invalid_argument("shingleWords is " + std::to_string(shingle_words) + "; expected at least 1");
  if (threads < 1) throw std::invalid_argument("threads is " + std::to_string(threads) + "; expected at least 1");
}

NearDuplicates::~NearDuplicates() {
  if (file_ >= 0) close(file_);
}

size_t NearDuplicates::Batch::bytes() const {
  size_t values = 0;
  for (int scale = 0; scale < kScales; scale++) values += keys[scale].size();
  return shingles.size() * sizeof(uint64_t) + values * sizeof(uint32_t);
}

// The keys of a part stand by member, then by band; add turns them round.
NearDuplicates::Batch NearDuplicates::describe(std::string_view bytes, const uint32_t* ends, size_t begin,
                                               size_t end) const {
  Batch part;
  std::vector<uint64_t> words;
  for (size_t i = begin; i < end; i++) {
    const size_t start = i == 0 ? 0 : ends[i - 1];
    words.clear();
    append_words(words, bytes.substr(start, ends[i] - start));
    const bool wanted[kScales] = {words.size() < 2 * kFewWords, words.size() >= kFewWords};
    for (int scale = 0; scale < kScales; scale++) {
      const size_t from = part.shingles.size();
      part.begins.push_back(static_cast<uint32_t>(from));
      if (!wanted[scale] || words.empty()) continue;
      append_shingles(part.shingles, words, words_[scale]);
      part.members[scale].push_back(static_cast<uint32_t>(i));
      part.keys[scale].resize(part.keys[scale].size() + kBands);
      band_keys(part.keys[scale].data() + part.keys[scale].size() - kBands, 1, part.shingles.data() + from,
                part.shingles.size() - from);
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
  std::vector<Batch> described(parts);
  in_parts(parts, [&](size_t part) {
    described[part] = describe(bytes, ends, count * part / parts, count * (part + 1) / parts);
  });

  Batch batch;
  batch.first = static_cast<uint32_t>(texts_);
  size_t shingles = 0, members[kScales] = {0, 0};
  for (const Batch& part : described) {
    shingles += part.shingles.size();
    for (int scale = 0; scale < kScales; scale++) members[scale] += part.members[scale].size();
  }
  if (shingles > std::numeric_limits<uint32_t>::max())
    throw std::invalid_argument("more than 4294967295 words at once");
  batch.begins.reserve(2 * count + 1);
  batch.shingles.reserve(shingles);
  for (int scale = 0; scale < kScales; scale++) {
    batch.members[scale].reserve(members[scale]);
    batch.keys[scale].resize(members[scale] * kBands);
  }
  for (const Batch& part : described) {
    append(batch.begins, part.begins, static_cast<uint32_t>(batch.shingles.size()));
    batch.shingles.insert(batch.shingles.end(), part.shingles.begin(), part.shingles.end());
    for (int scale = 0; scale < kScales; scale++) {
      const size_t before = batch.members[scale].size(), own = part.members[scale].size();
      append(batch.members[scale], part.members[scale], batch.first);
      for (int band = 0; band < kBands; band++)
        for (size_t i = 0; i < own; i++)
          batch.keys[scale][band * members[scale] + before + i] = part.keys[scale][i * kBands + band];
    }
  }
  batch.begins.push_back(static_cast<uint32_t>(batch.shingles.size()));
  resident_ += batch.bytes();
  batches_.push_back(std::move(batch));
  texts_ += count;
  if (!folder_.empty() && resident_ > memory_bytes_) spill();
}

void NearDuplicates::spill() {
  if (file_ < 0) file_ = nameless_file(folder_);
  int64_t at = static_cast<int64_t>(spilled_);
  for (Batch& batch : batches_) {
    if (batch.shingles_at >= 0) continue;
    const auto move = [&](auto& values, int64_t& place) {
      write_at(file_, at, values);
      place = at;
      at += values.size() * sizeof(values[0]);
    };
    move(batch.shingles, batch.shingles_at);
    for (int scale = 0; scale < kScales; scale++) move(batch.keys[scale], batch.keys_at[scale]);
    batch.shingles = {};
    for (auto& keys : batch.keys) keys = {};
  }
  spilled_ = at;
  resident_ = 0;
}

// ---------------------------------------------------------------------------------------------------------------------
// clusters

const NearDuplicates::Batch& NearDuplicates::batch_of(uint32_t text) const {
  return *std::prev(std::upper_bound(batches_.begin(), batches_.end(), text,
                                     [](uint32_t wanted, const Batch& batch) { return wanted < batch.first; }));
}

// The sets of one scale, as a bucket is searched.
class NearDuplicates::View final : public Corpus {
 public:
  View(const NearDuplicates& all, Scale scale) : all_(all), scale_(scale) {}

  ShingleSet set_of(uint32_t text, std::vector<uint64_t>& room) const override {
    const Batch& batch = all_.batch_of(text);
    const auto [begin, end] = bounds(batch, text, scale_);
    if (batch.shingles_at < 0) return {batch.shingles.data() + begin, end - begin};
    room.resize(end - begin);
    read_at(all_.file_, batch.shingles_at + static_cast<int64_t>(begin * sizeof(uint64_t)), room.data(), room.size());
    return {room.data(), room.size()};
  }

  size_t size_of(uint32_t text) const override {
    const auto [begin, end] = bounds(all_.batch_of(text), text, scale_);
    return end - begin;
  }

  // Two texts of 20 words or more are compared by their long shingles only.
  bool comparable(uint32_t a, uint32_t b) const override { return scale_ == kLong || few_words(a) || few_words(b); }

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

std::vector<uint64_t> NearDuplicates::sorted_band(Scale scale, int band) const {
  std::vector<uint64_t> proposals;
  size_t count = 0;
  for (const Batch& batch : batches_) count += batch.members[scale].size();
  proposals.reserve(count);
  std::vector<uint32_t> room;
  for (const Batch& batch : batches_) {
    const std::vector<uint32_t>& members = batch.members[scale];
    const uint32_t* keys = batch.keys[scale].data() + band * members.size();
    if (batch.shingles_at >= 0) {
      room.resize(members.size());
      read_at(file_, batch.keys_at[scale] + static_cast<int64_t>(band * members.size() * sizeof(uint32_t)), room.data(),
              room.size());
      keys = room.data();
    }
    for (size_t i = 0; i < members.size(); i++) proposals.push_back(uint64_t{keys[i]} << 32 | members[i]);
  }
  std::sort(proposals.begin(), proposals.end());
  return proposals;
}

std::vector<uint32_t> NearDuplicates::clusters() const {
  std::vector<uint32_t> parent(texts_);
  std::iota(parent.begin(), parent.end(), 0);
  for (const Scale scale : {kShort, kLong}) {
    const View view(*this, scale);
    for (int band = 0; band < kBands; band += threads_) {
      const int width = std::min(threads_, kBands - band);
      std::vector<std::vector<Edge>> found(width);
      in_parts(width, [&](size_t part) {
        const std::vector<uint64_t> proposals = sorted_band(scale, band + static_cast<int>(part));
        std::vector<uint32_t> texts;
        for (size_t begin = 0, end; begin < proposals.size(); begin = end) {
          for (end = begin + 1; end < proposals.size() && proposals[end] >> 32 == proposals[begin] >> 32;) end++;
          if (end - begin < 2) continue;
          texts.clear();
          for (size_t i = begin; i < end; i++) texts.push_back(static_cast<uint32_t>(proposals[i]));
          join_bucket(found[part], texts, parent.data(), view, threshold_);
        }
      });
      for (const std::vector<Edge>& edges : found)
        for (const auto& [a, b] : edges) unite(parent, a, b);
      for (uint32_t text = 0; text < parent.size(); text++) parent[text] = root_of(parent, text);
    }
  }
  return parent;
}

}  // namespace humanizer
