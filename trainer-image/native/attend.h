// Attention of one layer over the rows of a pass: which rows see which, and where their keys and values lie.
#pragma once

#include "attention.h"

namespace humanizer {

struct Backend;

// Rows [begin, begin + rows) of the pass. With a cache (generation) their keys and values are written behind the `past`
// that are there, and they see all of those; without one they see their own.
struct PackedDocument {
  int64_t begin, rows;
  Rows keys, values;  // (past + rows, kv_heads * D), dense; data null: no cache
  int64_t past;
  RowsWay way = RowsWay::kByCount;
};

// documents lie in the host's memory, first and last in the backend's. Without a cache row i sees the rows [first[i],
// i] and is seen by those up to last[i], not included.
struct Packing {
  const PackedDocument* documents;
  int64_t count;
  const int32_t *first, *last;
};

struct AttentionRows {
  ConstRows q, k, v;  // (T, heads * D), (T, kv_heads * D)
};

// out, lse and scratch as in attention.h, for all rows.
using Attend = void(const Backend& backend, Rows out, float* lse, const AttentionRows& in, const Packing& packing,
                    const AttentionShape& shape, float* scratch);
using AttendBackward = void(const Backend& backend, Rows dq, Rows dk, Rows dv, ConstRows dout, Rows out, float* lse,
                            const AttentionRows& in, const Packing& packing, const AttentionShape& shape,
                            float* scratch);

// By the table's attention_forward and attention_backward, a span a document: the CPU's.
Attend attend_spans;
AttendBackward attend_spans_backward;

}  // namespace humanizer
