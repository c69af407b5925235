#include "attention.h"

#include <omp.h>

#include <cmath>

#include "few_rows.h"
#include "microkernel.h"
#include "vector_math.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

ConstRows head(ConstRows x, int64_t h, int64_t size) { return columns(x, h * size, size); }

// score = exp(score - maximum) over the visible keys, 0 from there to width.
struct Softmax {
  float maximum, sum;
};
Softmax softmax(float* score, int64_t visible, int64_t width) {
  float maximum = -INFINITY, sum = 0;
#pragma omp simd reduction(max : maximum)
  for (int64_t j = 0; j < visible; ++j) maximum = score[j] > maximum ? score[j] : maximum;
#pragma omp simd reduction(+ : sum)
  for (int64_t j = 0; j < visible; ++j) {
    score[j] = exp_approx(score[j] - maximum);
    sum += score[j];
  }
  for (int64_t j = visible; j < width; ++j) score[j] = 0;
  return {maximum, sum};
}

// The keys and values of one span and key head. K as panels of K^T (D, keys); V as panels of V (keys, D).
struct Packed {
  const float *k, *v;
};

// q: scratch of kAttentionBlock * padded D; scores: of kTileRows rows of all keys.
void forward_block(const AttentionSpan& span, const AttentionShape& s, int64_t h, int64_t begin, const Packed& packed,
                   float* q, float* scores) {
  const int64_t size = s.head_size, keys = span.k.rows, past = keys - span.q.rows;
  const int64_t rows = smaller(kAttentionBlock, span.q.rows - begin), stride = round_up(keys, kTileCols);
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  for (int64_t i = 0; i < round_up(rows, kTileRows); ++i) {
    for (int64_t c = 0; c < size; ++c) {
      q[i * size + c] = i < rows ? span.q.row(begin + i)[h * size + c] * scale : 0.0f;
    }
  }
  for (int64_t i = 0; i < rows; i += kTileRows) {
    const int64_t here = smaller(kTileRows, rows - i), seen = past + begin + i + here;  // keys of the last row
    for (int64_t k = 0; k < seen; k += kTileCols) {
      write_tile<false>(scores + k, stride, multiply(q + i * size, size, 1, packed.k + k * size, kTileCols, size));
    }
    float reciprocal[kTileRows] = {};
    for (int64_t r = 0; r < here; ++r) {
      const Softmax of = softmax(scores + r * stride, past + begin + i + r + 1, seen);
      reciprocal[r] = 1.0f / of.sum;
      span.lse[(begin + i + r) * s.heads + h] = of.maximum + std::log(of.sum);
    }
    for (int64_t c = 0; c < size; c += kTileCols) {
      Tile t = multiply(scores, stride, 1, packed.v + c * keys, kTileCols, seen);
      for (int64_t r = 0; r < kTileRows; ++r) {
        t.at[r][0] *= reciprocal[r];
        t.at[r][1] *= reciprocal[r];
      }
      write_part<false>(span.out.row(begin + i) + h * size + c, span.out.stride, t, here, size - c);
    }
  }
}

// Fetches one row of a cache, whose rows are too far apart for the processor to see where they go on.
void fetch(ConstRows x, int64_t row) {
  for (int64_t c = 0; c < x.cols; c += 16) __builtin_prefetch(x.row(row) + c);
}
constexpr int64_t kAhead = 16;  // keys that are fetched before they are needed

// scores[r * stride + j] = scale * q[r] . k[j] for kHeads heads of one query; fetches the values that few_values reads.
template <int kHeads>
void few_scores(float* scores, int64_t stride, const float* q, ConstRows k, ConstRows v, int64_t visible, float scale) {
  for (int64_t j = 0; j < visible && j < kAhead; ++j) fetch(k, j);
  for (int64_t j = 0; j < visible; ++j) {
    const float* key = k.row(j);
    if (j + kAhead < visible) fetch(k, j + kAhead);
    fetch(v, j);
    Lanes sum[kHeads] = {};
    int64_t c = 0;
    for (; c + kLanes <= k.cols; c += kLanes) {
      const Lanes value = load(key + c);
#pragma GCC unroll 4
      for (int r = 0; r < kHeads; ++r) sum[r] = multiply_add(load(q + r * k.cols + c), value, sum[r]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kHeads; ++r) {
      float total = add_lanes(sum[r]);
      for (int64_t i = c; i < k.cols; ++i) total += q[r * k.cols + i] * key[i];
      scores[r * stride + j] = total * scale;
    }
  }
}

// kWide registers of columns of out[r] = reciprocal[r] * sum_j p[r][j] v[j].
template <int kHeads, int kWide>
void few_values(float* out, const float* p, int64_t stride, ConstRows v, int64_t visible, const float* reciprocal,
                int64_t column) {
  Lanes sum[kHeads][kWide] = {};
  for (int64_t j = 0; j < visible; ++j) {
    const float* value = v.row(j) + column;
#pragma GCC unroll 4
    for (int w = 0; w < kWide; ++w) {
      const Lanes lanes = load(value + w * kLanes);
#pragma GCC unroll 4
      for (int r = 0; r < kHeads; ++r) sum[r][w] = multiply_add(broadcast(p[r * stride + j]), lanes, sum[r][w]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kHeads; ++r) {
#pragma GCC unroll 4
    for (int w = 0; w < kWide; ++w) store(out + r * v.cols + column + w * kLanes, sum[r][w] * reciprocal[r]);
  }
}

// A decoding step: packing all keys would cost more than the few products. kHeads heads from h on, which share a key
// head: each key and value is read once for them. A head's bits do not depend on kHeads.
template <int kHeads>
void forward_few(const AttentionSpan& span, const AttentionShape& s, int64_t h, float* scores) {
  constexpr int kWide = kLanes == 16 ? 4 : 2;  // with kHeads of four the registers that there are
  const int64_t size = s.head_size, kv = h / (s.heads / s.kv_heads), past = span.k.rows - span.q.rows;
  const int64_t stride = round_up(span.k.rows, kTileCols);
  const ConstRows k = head(span.k, kv, size), v = head(span.v, kv, size);
  const float scale = 1.0f / std::sqrt(static_cast<float>(size));
  for (int64_t i = 0; i < span.q.rows; ++i) {
    const int64_t visible = past + i + 1;
    few_scores<kHeads>(scores, stride, span.q.row(i) + h * size, k, v, visible, scale);
    float reciprocal[kHeads];
    for (int r = 0; r < kHeads; ++r) {
      const Softmax of = softmax(scores + r * stride, visible, visible);
      reciprocal[r] = 1.0f / of.sum;
      span.lse[i * s.heads + h + r] = of.maximum + std::log(of.sum);
    }
    float* out = span.out.row(i) + h * size;
    int64_t c = 0;
    for (; c + kWide * kLanes <= size; c += kWide * kLanes) {
      few_values<kHeads, kWide>(out, scores, stride, v, visible, reciprocal, c);
    }
    for (; c + kLanes <= size; c += kLanes) few_values<kHeads, 1>(out, scores, stride, v, visible, reciprocal, c);
    for (; c < size; ++c) {
      for (int r = 0; r < kHeads; ++r) {
        float sum = 0;
        for (int64_t j = 0; j < visible; ++j) sum += scores[r * stride + j] * v.row(j)[c];
        out[r * size + c] = sum * reciprocal[r];
      }
    }
  }
}

constexpr int64_t kFewHeads = 4;
static_assert(kFewHeads <= kTileRows);

// At most kFewHeads.
void forward_few(const AttentionSpan& span, const AttentionShape& s, int64_t h, int64_t heads, float* scores) {
  switch (heads) {
    case 1:
      return forward_few<1>(span, s, h, scores);
    case 2:
      return forward_few<2>(span, s, h, scores);
    case 3:
      return forward_few<3>(span, s, h, scores);
    default:
      return forward_few<4>(span, s, h, scores);
  }
}

// Brings keys or values near in the order in which they lie, which memory answers twice as fast as head by head.
void read_through(ConstRows x) {
  const int64_t end = (x.rows - 1) * x.stride + x.cols;
  for (int64_t i = 0; i < end; i += 16) asm volatile("" ::"x"(x.data[i]));
}
constexpr int64_t kStays = 1 << 16;  // values of a cache that are still near when its last head is computed

// The heads of one key head, in parts of at most kFewHeads. A thread has a whole request at once where there are
// several for each; of a single one the heads come one by one, so that no thread waits.
void forward_few_spans(const AttentionSpan* spans, int64_t count, const AttentionShape& s, float* scores) {
  const int64_t group = s.heads / s.kv_heads, threads = omp_get_num_threads();
  const int64_t size = count * s.kv_heads >= 2 * threads ? kFewHeads : 1;
  const int64_t parts = (group + size - 1) / size, of_span = s.kv_heads * parts;
  const int64_t at_once = count >= 2 * threads ? of_span : 1;
#pragma omp for schedule(dynamic) nowait
  for (int64_t begin = 0; begin < count * of_span; begin += at_once) {
    const AttentionSpan& span = spans[begin / of_span];
    if (!few_rows(span.way, span.q.rows)) continue;
    if (at_once > 1 && span.k.rows * span.k.stride <= kStays) {
      read_through(span.k);
      read_through(span.v);
    }
    for (int64_t task = begin; task < begin + at_once; ++task) {
      const int64_t kv = task % of_span / parts, first = task % parts * size;
      forward_few(span, s, kv * group + first, smaller(size, group - first), scores);
    }
  }
}

}  // namespace

void attention_forward(const AttentionSpan* spans, int64_t count, const AttentionShape& s, float* scratch) {
  const int64_t size = s.head_size, padded = round_up(size, kTileCols), group = s.heads / s.kv_heads;
  int64_t longest = 0;
  for (int64_t n = 0; n < count; ++n) longest = longest > spans[n].k.rows ? longest : spans[n].k.rows;
  const int64_t of_thread = kAttentionBlock * padded + kTileRows * round_up(longest, kTileCols);
  float* panels = scratch + omp_get_max_threads() * of_thread;
#pragma omp parallel
  {
    float *q = scratch + omp_get_thread_num() * of_thread, *scores = q + kAttentionBlock * padded;
    float* packed = panels;
    for (int64_t n = 0; n < count; ++n) {
      if (few_rows(spans[n].way, spans[n].q.rows)) continue;
      const int64_t keys = spans[n].k.rows, k_size = round_up(keys, kTileCols) * size, v_size = keys * padded;
      const int64_t k_panels = k_size / size / kTileCols, v_panels = padded / kTileCols;
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < s.kv_heads * (k_panels + v_panels); ++task) {
        const int64_t kv = task / (k_panels + v_panels), p = task % (k_panels + v_panels);
        float* own = packed + kv * (k_size + v_size);
        if (p < k_panels) {
          pack_panel_transposed(own + p * kTileCols * size, head(spans[n].k, kv, size), p * kTileCols, 1);
        } else {
          const int64_t c = (p - k_panels) * kTileCols;
          pack_panel(own + k_size + c * keys, head(spans[n].v, kv, size), c, 1);
        }
      }
      packed += s.kv_heads * (k_size + v_size);
    }
#pragma omp barrier
    forward_few_spans(spans, count, s, scores);
    packed = panels;
    for (int64_t n = 0; n < count; ++n) {
      const int64_t rows = spans[n].q.rows, keys = spans[n].k.rows;
      if (few_rows(spans[n].way, rows)) continue;
      const int64_t k_size = round_up(keys, kTileCols) * size, v_size = keys * padded;
      const int64_t blocks = (rows + kAttentionBlock - 1) / kAttentionBlock;
#pragma omp for schedule(dynamic) nowait
      for (int64_t task = 0; task < blocks * s.heads; ++task) {
        const int64_t h = task % s.heads;
        const float* own = packed + h / group * (k_size + v_size);
        // The last rows first: they see the most keys.
        forward_block(spans[n], s, h, (blocks - 1 - task / s.heads) * kAttentionBlock, {own, own + k_size}, q, scores);
      }
      packed += s.kv_heads * (k_size + v_size);
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
