// The texts of each band key: pairs (key, text) sorted by radix, a range of the keys at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace humanizer {

class Proposals {
 public:
  // Passes that it takes to keep `members` pairs within `room` bytes, if keys are spread evenly; at least one.
  static size_t passes(size_t members, size_t room);

  // Starts with the keys of range `pass` of `passes`, of equal size.
  void begin(size_t pass, size_t passes);
  // keys: 32 bits for each text, unaligned. Texts must come in ascending order, from call to call, too.
  void add(const uint8_t* keys, const std::vector<uint32_t>& texts);
  void sort();
  // After sort: the ascending texts of the next key that several have; false when there is none left.
  bool next(std::vector<uint32_t>& texts);

 private:
  uint64_t pass_ = 0;
  uint64_t passes_ = 1;
  size_t at_ = 0;
  std::vector<uint64_t> pairs_;  // key << 32 | text
  std::vector<uint64_t> other_;
};

}  // namespace humanizer
