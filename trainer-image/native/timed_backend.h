// A table whose operations are those of another, each timed: a profile of a step. One such table at a time in a
// process, whose operations one thread at a time calls. A device is waited for after each, so that its time is its own,
// with what its start takes: a step is then longer, nothing runs
// beside anything, and none is captured.
#pragma once

#include <string>
#include <vector>

#include "backend.h"

namespace humanizer {

struct OpTime {
  std::string op;
  int64_t calls;
  double seconds;
  // What the mathematics needs, a multiplication and an addition being two: of products of matrices, the adapters'
  // and attention's. 0 for the rest.
  double operations;
};

// Begins anew: the table that an earlier call returned counts no more.
const Backend& timed(const Backend& backend);

// Of every operation that was called since the last take, those of the longest time first.
std::vector<OpTime> take_op_times();

}  // namespace humanizer
