// The similar pairs of a bucket that is too large to compare all with all: only texts that share a rare shingle are
// compared (the prefix filter of PPJoin, Xiao et al. 2011).
//
// Put every set in one order of all shingles, rarest first. If J(a, b) > t, then the first |a| - ceil(t |a|) + 1
// shingles of the larger and the first |b| - ceil(2t / (1 + t) |b|) + 1 of the smaller have one in common. So nothing
// is missed, and texts alike in their common part alone never meet.
//
// The postings (shingle, text) of those prefixes are sorted and gone through shingle by shingle, a range of the
// shingles at a time. What is found does not depend on the ranges, so it does not depend on the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dedup_bucket.h"

namespace humanizer {

// Appends edges as join_bucket says. The postings take `room` bytes, or 1 MiB, or what one shingle's neighbours take
// (16 bytes for each of its texts), whichever is most; beside them it takes about 40 bytes a text and 8 MB.
void join_large_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const Corpus& corpus,
                       double threshold, size_t room);

}  // namespace humanizer
