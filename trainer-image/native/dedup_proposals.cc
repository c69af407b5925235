#include "dedup_proposals.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace humanizer {
namespace {

constexpr size_t kLeastPairs = 1 << 16;  // of a pass, however little memory there is
constexpr int kDigitBits = 11;
constexpr int kDigits = 3;  // of 32 bits

size_t digit_of(uint64_t pair, int digit) {
  return (pair >> (32 + kDigitBits * digit)) & ((size_t{1} << kDigitBits) - 1);
}

}  // namespace

size_t Proposals::passes(size_t members, size_t room) {
  const size_t pairs = std::max(kLeastPairs, room / (2 * sizeof(uint64_t)));
  return std::max<size_t>(1, (members + pairs - 1) / pairs);
}

void Proposals::begin(size_t pass, size_t passes) {
  pass_ = pass;
  passes_ = passes;
  at_ = 0;
  pairs_.clear();
}

void Proposals::add(const uint8_t* keys, const std::vector<uint32_t>& texts) {
  for (size_t i = 0; i < texts.size(); i++) {
    uint32_t key;
    std::memcpy(&key, keys + i * sizeof key, sizeof key);
    if (passes_ == 1 || (key * passes_) >> 32 == pass_) pairs_.push_back(uint64_t{key} << 32 | texts[i]);
  }
}

// From the lowest digit of the key to the highest, each time keeping the order of before: the texts stay ascending.
void Proposals::sort() {
  std::array<std::array<size_t, size_t{1} << kDigitBits>, kDigits> places{};
  for (const uint64_t pair : pairs_)
    for (int digit = 0; digit < kDigits; digit++) places[digit][digit_of(pair, digit)]++;
  other_.resize(pairs_.size());
  for (int digit = 0; digit < kDigits; digit++) {
    size_t place = 0;
    for (size_t& count : places[digit]) {
      const size_t own = count;
      count = place;
      place += own;
    }
    for (const uint64_t pair : pairs_) other_[places[digit][digit_of(pair, digit)]++] = pair;
    pairs_.swap(other_);
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
