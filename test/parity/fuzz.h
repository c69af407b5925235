// What the rounds of fuzz.cc, fuzz_csv.cc and fuzz_dedup.cc are made of.
#pragma once

#include "tiny_model.h"

namespace humanizer {

// Seeded for each round.
inline Generator generator;

struct Tally {
  int64_t loaded = 0, refused = 0;
  std::string why;
};

inline bool chance(int64_t one_in) { return draw(generator, 1, one_in) == 1; }

template <class T>
const T& any(const std::vector<T>& of) {
  return of[static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(of.size()) - 1))];
}

// fuzz_csv.cc: broken CSV, whole and in pieces.
void fuzz_csv(Tally& tally);
// fuzz_dedup.cc: families of texts, with any memory, threads and division into calls.
void fuzz_dedup(Tally& tally);

}  // namespace humanizer
