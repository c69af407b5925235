// Causal attention over packed documents, grouped queries: query head h reads key head h / (heads / kv_heads). Row i of
// a span's queries stands at position keys - queries + i and sees the keys up to there.
//   q, out, dq, dout  (queries, heads * D)     k, v, dk, dv  (keys, kv_heads * D)
//   lse               (queries, heads)         log of the softmax's denominator: all that forward keeps besides out
// Nothing grows with queries * keys: forward holds the scores of six queries, backward a tile of them (Dao et al.,
// 2022).
#pragma once

#include <cstdint>

#include "few_rows.h"
#include "tensor.h"

namespace humanizer {

// One document (training: queries == keys) or one request with its cache (generation).
struct AttentionSpan {
  Rows out;
  float* lse;
  ConstRows q, k, v;
  RowsWay way = RowsWay::kByCount;  // of its queries, forward
};

struct AttentionGradients {
  Rows dq, dk, dv;
  ConstRows dout;
};

struct AttentionShape {
  int64_t heads, kv_heads, head_size;
};

inline constexpr int64_t kAttentionBlock = 48;  // queries that one thread works on at a time
inline constexpr int64_t kKeyBlock = 96;        // keys in a tile of backward
inline constexpr int64_t kAttentionChunks = 4;  // parts of a document's queries that backward may work on at once

// Floats of scratch for a stream of that many threads. keys: of all spans; longest: of one; backward needs more.
static inline int64_t attention_scratch(int threads, int64_t spans, int64_t keys, int64_t longest,
                                        const AttentionShape& s, bool backward) {
  const int64_t size = (s.head_size + 31) / 32 * 32;  // 32: a multiple of every register tile's columns
  const int64_t panels = (keys + spans * kKeyBlock) * s.kv_heads * size;
  const int64_t forward = 2 * panels + threads * (kAttentionBlock * size + 6 * (longest + 32));
  if (!backward) return forward;
  const int64_t tiles = kAttentionBlock * (3 * size + 2 * kKeyBlock + 2);
  const int64_t both = (3 + 2 * kAttentionChunks) * panels + threads * tiles;
  return both > forward ? both : forward;
}

using AttentionForward = void(const AttentionSpan* spans, int64_t count, const AttentionShape& shape, float* scratch);
// dq, dk, dv are overwritten. Here queries == keys in every span. Sums are taken in an order that only the shapes set.
using AttentionBackward = void(const AttentionSpan* spans, const AttentionGradients* gradients, int64_t count,
                               const AttentionShape& shape, float* scratch);

}  // namespace humanizer
