// Compares the sets of candidate pairs, each set read from disk about once.
//
// The pairs are ascending, so their first texts come in the order in which the sets lie on disk. They are taken a
// window at a time: as many as the sets of both sides fit the memory. Of a window the sets are read in the order of the
// disk, those close to each other in one go.
#pragma once

#include <cstddef>
#include <span>

#include "dedup_candidates.h"
#include "dedup_clusters.h"
#include "dedup_corpus.h"

namespace humanizer {

// Unites the comparable texts of `pairs` (ascending, each once) of which J > threshold. The windows of all threads take
// `room` bytes together, or what two sets take. Pairs that are not similar are added to `refused`, if it is not null;
// then threads must be 1.
void compare(Clusters& clusters, std::span<const Candidate> pairs, const Corpus& corpus, double threshold, int threads,
             size_t room, Refused* refused);

}  // namespace humanizer
