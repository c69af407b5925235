// Which texts of a large bucket have which shingles, in the order of the shingles. What does not fit the memory is
// written to a file of its own in sorted runs, which are merged: each posting is written and read once, however many
// there are.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dedup_store.h"

namespace humanizer {

// A text's place is the large bucket's own number for it.
struct Posting {
  uint64_t shingle;
  uint32_t place;
  bool indexed;  // what comes after finds it; the others only find what came before
  std::strong_ordering operator<=>(const Posting& other) const {
    return shingle != other.shingle ? shingle <=> other.shingle : place <=> other.place;
  }
};

class Postings {
 public:
  // In memory are at most as many as `room` bytes hold, or kLeast; `folder` is for the others.
  Postings(size_t room, std::string folder);

  void add(const Posting& posting) {
    if (held_.size() == most_) write_run();
    held_.push_back(posting);
  }
  // After the last one. Those of the next shingle, by their place; false when there is none left.
  void sort();
  bool next(std::vector<Posting>& same);

 private:
  static constexpr size_t kLeast = 1 << 16;
  static constexpr size_t kLeastOfRun = 64;  // that are read at once

  // Part of the file; those of held_ from `at` to `end` are its next ones.
  struct Run {
    int64_t from, to;  // in the file: what comes after those
    size_t begin;      // of its part of held_
    size_t at, end;
  };

  void write_run();
  bool fill(Run& run);
  const Posting& first_of(const Run& run) const { return held_[run.at]; }
  bool later(const Run& a, const Run& b) const { return first_of(b) < first_of(a); }

  size_t most_;
  std::string folder_;
  std::vector<Posting> held_;
  std::unique_ptr<SpillFile> file_;
  std::vector<Run> runs_;  // after sort: a heap, the one with the first posting on top
  size_t of_run_ = 0;      // postings of held_ for each
};

}  // namespace humanizer
