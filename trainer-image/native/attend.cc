#include "attend.h"

#include <cstring>
#include <vector>

#include "backend.h"

namespace humanizer {

void attend_spans(const Backend& backend, Rows out, float* lse, const AttentionRows& in, const Packing& packing,
                  const AttentionShape& shape, float* scratch) {
  std::vector<AttentionSpan> spans;
  bool cached = false;
  for (int64_t i = 0; i < packing.count; ++i) {
    const PackedDocument& d = packing.documents[i];
    ConstRows keys = slice(in.k, d.begin, d.rows), values = slice(in.v, d.begin, d.rows);
    if (d.keys.data) {
      const size_t bytes = static_cast<size_t>(keys.cols) * sizeof(float);
      for (int64_t r = 0; r < d.rows; ++r) {
        std::memcpy(d.keys.row(d.past + r), keys.row(r), bytes);
        std::memcpy(d.values.row(d.past + r), values.row(r), bytes);
      }
      keys = d.keys;
      values = d.values;
      cached = true;
    }
    spans.push_back(
        {slice(out, d.begin, d.rows), lse + d.begin * shape.heads, slice(in.q, d.begin, d.rows), keys, values, d.way});
  }
  const bool bf16 = backend.bf16_attention_forward && !cached;
  (bf16 ? backend.bf16_attention_forward : backend.attention_forward)(spans.data(), packing.count, shape, scratch);
}

void attend_spans_backward(const Backend& backend, Rows dq, Rows dk, Rows dv, ConstRows dout, Rows out, float* lse,
                           const AttentionRows& in, const Packing& packing, const AttentionShape& shape,
                           float* scratch) {
  std::vector<AttentionSpan> spans;
  std::vector<AttentionGradients> gradients;
  for (int64_t i = 0; i < packing.count; ++i) {
    const PackedDocument& d = packing.documents[i];
    const auto part = [&](auto rows) { return slice(rows, d.begin, d.rows); };
    spans.push_back({part(out), lse + d.begin * shape.heads, part(in.q), part(in.k), part(in.v)});
    gradients.push_back({part(dq), part(dk), part(dv), part(dout)});
  }
  AttentionBackward* const backward =
      backend.bf16_attention_backward ? backend.bf16_attention_backward : backend.attention_backward;
  backward(spans.data(), gradients.data(), packing.count, shape, scratch);
}

}  // namespace humanizer
