// The texts of each band key: pairs (key, text) sorted by radix, a range of the keys at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace humanizer {

class Proposals {
 public:
  // For bands of `members` pairs. If keys are spread evenly, those of a range fit `room` bytes.
  Proposals(size_t members, size_t room);

  // The ranges are of equal size.
  size_t ranges() const { return ranges_; }
  void begin(size_t range);
  // keys: 32 bits for each text, unaligned. Texts must come in ascending order, from call to call, too.
  void add(const uint8_t* keys, const std::vector<uint32_t>& texts);
  void sort();
  // After sort: the ascending texts of the next key that several have; false when there is none left.
  bool next(std::vector<uint32_t>& texts);

 private:
  uint64_t range_ = 0;
  uint64_t ranges_ = 1;
  size_t at_ = 0;
  std::vector<uint64_t> pairs_;  // key << 32 | text
  std::vector<uint64_t> other_;
};

}  // namespace humanizer
