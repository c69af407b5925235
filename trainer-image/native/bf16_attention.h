// attention.h's operations with factors rounded to bf16 (bf16_matmul.h): q, k, v, dout, and P and dS where they are
// factors. Softmax, lse and all sums are f32. Of documents that see their own rows alone (training and evaluation):
// queries == keys in every span.
#pragma once

#include "attention.h"

namespace humanizer {

inline constexpr int64_t kBf16AttentionBlock = 56;  // queries that backward works on at a time

// As attention_scratch. Backward never takes more than that does.
static inline int64_t bf16_attention_scratch(int threads, int64_t spans, int64_t keys, int64_t longest,
                                             const AttentionShape& s, bool backward) {
  const int64_t size = (s.head_size + 31) / 32 * 32;
  const int64_t panels = (keys + spans * kKeyBlock) * s.kv_heads * size;
  const int64_t forward = 16 + panels + threads * (7 * size + 14 * (longest + 48));
  if (!backward) return forward;
  const int64_t tiles = kBf16AttentionBlock * (2 * size + kKeyBlock * 3 / 2);
  const int64_t both = 16 + (3 + 4 * kAttentionChunks) * panels / 2 + threads * tiles;
  return both > forward ? both : forward;
}

}  // namespace humanizer
