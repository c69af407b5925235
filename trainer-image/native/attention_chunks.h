// How backward divides a document's queries: chunks of equal area under the causal diagonal, each with a dK and dV of
// its own. By the number of queries alone, so that sums have one order. Everything here is static: each instruction
// path has its own.
#pragma once

#include <cmath>

#include "attention.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

static inline int64_t attention_chunks(int64_t rows) {
  const int64_t wanted = (rows + 63) / 64;
  return wanted < kAttentionChunks ? wanted : kAttentionChunks;
}

// Where a chunk begins, and the one before it ends: after whole tiles of so many queries.
static inline int64_t attention_chunk_begin(int64_t rows, int64_t chunk, int64_t tile) {
  const double part = static_cast<double>(chunk) / static_cast<double>(attention_chunks(rows));
  const int64_t at = round_up(static_cast<int64_t>(static_cast<double>(rows) * std::sqrt(part)), tile);
  return at < rows ? at : rows;
}

}  // namespace humanizer::HUMANIZER_ISA
