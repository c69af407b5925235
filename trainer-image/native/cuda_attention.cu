// Attention for the op table: of packed documents, and of generation, whose keys and values lie in caches. In the
// scratch of a pass with caches: the rows' caches, then what attention_cached wants.
#include <algorithm>
#include <vector>

#include "cuda_attention.cuh"
#include "cuda_memory.h"
#include "cuda_views.cuh"

namespace humanizer::cuda {

namespace {

int64_t floats_of_caches(int64_t rows) { return ceil_div(rows * int64_t{sizeof(CachedRow<float>)}, 16) * 4; }

}  // namespace

int64_t attend_scratch(int, int64_t, int64_t keys, int64_t longest, int64_t rows, const AttentionShape& shape,
                       bool backward) {
  if (backward) return rows * shape.heads;
  const bool cached = keys > rows;  // some were seen before
  const int64_t splits = ceil_div(longest, kKeysOfSplit);
  return floats_of_caches(rows) + (cached ? rows * shape.heads * splits * (shape.head_size + 2) : 0);
}

template <class T>
void attend(const Backend&, Rows out, float* lse, const AttentionRows& in, const Packing& packing,
            const AttentionShape& shape, float* scratch) {
  const View<const T> q = view<T>(in.q), k = view<T>(in.k), v = view<T>(in.v);
  std::vector<CachedRow<T>> caches;
  int64_t longest = 0;
  bool seen_before = false;
  for (int64_t i = 0; i < packing.count; ++i) {
    const PackedDocument& d = packing.documents[i];
    if (!d.keys.data) break;  // all have a cache, or none
    longest = std::max(longest, d.past + d.rows);
    seen_before = seen_before || d.past > 0;
    for (int64_t r = 0; r < d.rows; ++r) {
      caches.push_back({view<T>(d.keys).data, view<T>(d.values).data, d.past + r + 1});
    }
  }
  auto* rows = reinterpret_cast<CachedRow<T>*>(scratch);
  if (!caches.empty()) {
    kDeviceMemory.upload(rows, caches.data(), caches.size() * sizeof caches[0]);
    append_to_caches<T>(stream(), rows, k, v);
  }
  if (seen_before) {
    attention_cached<T>(stream(), view<T>(out), q, rows, longest, shape, scratch + floats_of_caches(q.rows));
  } else {
    attention_forward<T>(stream(), view<T>(out), lse, {q, k, v}, {packing.first, packing.last}, shape);
  }
}

template <class T>
void attend_backward(const Backend&, Rows dq, Rows dk, Rows dv, ConstRows dout, Rows out, float* lse,
                     const AttentionRows& in, const Packing& packing, const AttentionShape& shape, float* scratch) {
  attention_backward<T>(stream(), {view<T>(in.q), view<T>(in.k), view<T>(in.v)}, view<T>(dq), view<T>(dk), view<T>(dv),
                        view<T>(dout), view<T>(out), lse, {packing.first, packing.last}, shape, scratch);
}

template void attend<float>(const Backend&, Rows, float*, const AttentionRows&, const Packing&, const AttentionShape&,
                            float*);
template void attend<bf16>(const Backend&, Rows, float*, const AttentionRows&, const Packing&, const AttentionShape&,
                           float*);
template void attend_backward<float>(const Backend&, Rows, Rows, Rows, ConstRows, Rows, float*, const AttentionRows&,
                                     const Packing&, const AttentionShape&, float*);
template void attend_backward<bf16>(const Backend&, Rows, Rows, Rows, ConstRows, Rows, float*, const AttentionRows&,
                                    const Packing&, const AttentionShape&, float*);

}  // namespace humanizer::cuda
