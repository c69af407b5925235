// The similar pairs of a bucket that is too large to compare all with all: only texts that share a rare shingle are
// compared (the prefix filter of PPJoin, Xiao et al. 2011).
//
// Put every set in one order of all shingles, rarest first. If J(a, b) > t, then the first |a| - ceil(t |a|) + 1
// shingles of the larger and the first |b| - ceil(2t / (1 + t) |b|) + 1 of the smaller have one in common. So nothing
// is missed, and texts alike in their common part alone never meet.
//
// The postings (shingle, text) of those prefixes are gone through shingle by shingle (dedup_postings.h). What is found
// does not depend on the memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dedup_corpus.h"

namespace humanizer {

using Edge = std::pair<uint32_t, uint32_t>;

// Appends pairs whose connected components are those of { (a, b) : comparable, J(a, b) > threshold } over `texts`
// (ascending), but that a text that is similar to none of the first kComparedPerCluster texts of a cluster counts as
// not similar to that cluster. The postings take `room` bytes, or 1 MiB, or what one shingle's neighbours take (16
// bytes for each of its texts), whichever is most, and go on in a file in `folder`; beside them it takes about 40 bytes
// a text and 8 MB.
void join_large_bucket(std::vector<Edge>& edges, std::span<const uint32_t> texts, const Corpus& corpus,
                       double threshold, size_t room, const std::string& folder);

constexpr size_t kSmallBucket = 48;  // whose texts are all compared with each other
constexpr size_t kComparedPerCluster = 32;

}  // namespace humanizer
