#include "dedup_postings.h"

#include <algorithm>
#include <utility>

namespace humanizer {

Postings::Postings(size_t room, std::string folder)
    : most_(std::max(kLeast, room / sizeof(Posting))), folder_(std::move(folder)) {}

void Postings::write_run() {
  if (!file_) file_ = std::make_unique<SpillFile>(folder_);
  std::sort(held_.begin(), held_.end());
  const size_t bytes = held_.size() * sizeof(Posting);
  const int64_t at = file_->append(reinterpret_cast<const uint8_t*>(held_.data()), bytes);
  runs_.push_back({at, at + static_cast<int64_t>(bytes), 0, 0, 0});
  held_.clear();
}

// The next part of the run; false when it has ended.
bool Postings::fill(Run& run) {
  const size_t count = std::min(of_run_, static_cast<size_t>(run.to - run.from) / sizeof(Posting));
  if (count == 0) return false;
  file_->read(reinterpret_cast<uint8_t*>(held_.data() + run.begin), run.from, count * sizeof(Posting));
  run.from += static_cast<int64_t>(count * sizeof(Posting));
  run.at = run.begin;
  run.end = run.begin + count;
  return true;
}

void Postings::sort() {
  if (runs_.empty()) {
    std::sort(held_.begin(), held_.end());
    if (!held_.empty()) runs_.push_back({0, 0, 0, 0, held_.size()});
    return;
  }
  if (!held_.empty()) write_run();
  of_run_ = std::max(kLeastOfRun, most_ / runs_.size());
  held_.resize(of_run_ * runs_.size());
  for (size_t i = 0; i < runs_.size(); i++) {
    runs_[i].begin = i * of_run_;
    fill(runs_[i]);
  }
  std::make_heap(runs_.begin(), runs_.end(), [&](const Run& a, const Run& b) { return later(a, b); });
}

bool Postings::next(std::vector<Posting>& same) {
  same.clear();
  const auto by_first = [&](const Run& a, const Run& b) { return later(a, b); };
  while (!runs_.empty() && (same.empty() || first_of(runs_.front()).shingle == same.front().shingle)) {
    std::pop_heap(runs_.begin(), runs_.end(), by_first);
    Run& run = runs_.back();
    // All of the shingle that the run has: other runs may have lower places of it, which come in front below.
    const uint64_t shingle = first_of(run).shingle;
    bool left = true;
    while (left && first_of(run).shingle == shingle) {
      same.push_back(held_[run.at++]);
      if (run.at == run.end) left = fill(run);
    }
    if (left)
      std::push_heap(runs_.begin(), runs_.end(), by_first);
    else
      runs_.pop_back();
  }
  if (file_) std::sort(same.begin(), same.end());
  return !same.empty();
}

}  // namespace humanizer
