// Causal attention over packed documents (Dao et al., 2022: online softmax), grouped queries: query head h reads key
// head h / (heads / kv_heads). Row i of a span's queries stands at position keys - queries + i and sees the keys up to
// there.
//   q, out, dq, dout  (queries, heads * D)     k, v, dk, dv  (keys, kv_heads * D)
//   lse               (queries, heads)         log of the softmax's denominator: all that forward keeps besides out
// Nothing grows with queries * keys: scores live in tiles of kQueryTile x kKeyTile.
#pragma once

#include <cstdint>

#include "tensor.h"

namespace humanizer {

// One document (training: queries == keys) or one request with its cache (generation).
struct AttentionSpan {
  Rows out;
  float* lse;
  ConstRows q, k, v;
};

struct AttentionGradients {
  Rows dq, dk, dv;
  ConstRows dout;
};

struct AttentionShape {
  int64_t heads, kv_heads, head_size;
};

inline constexpr int64_t kQueryTile = 64, kKeyTile = 128;

// Floats of scratch for a stream of that many threads; rows: the queries of all spans for backward, 0 for forward.
static inline int64_t attention_scratch(int threads, int64_t rows, const AttentionShape& s) {
  return threads * 2 * kQueryTile * (kKeyTile + 1) + rows * s.heads * (2 * s.head_size + 1);
}

using AttentionForward = void(const AttentionSpan* spans, int64_t count, const AttentionShape& shape, float* scratch);
// dq, dk, dv are overwritten. Here queries == keys in every span.
using AttentionBackward = void(const AttentionSpan* spans, const AttentionGradients* gradients, int64_t count,
                               const AttentionShape& shape, float* scratch);

}  // namespace humanizer
