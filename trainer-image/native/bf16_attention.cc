// Forward takes as many queries as a tile has and holds their scores, which become P as pairs of keys where they lie.
#include "bf16_attention.h"

#include <omp.h>

#include <cmath>

#include "bf16_attention_packing.h"
#include "bf16_tile.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

// One span and key head: K^T by panels of keys, V by pairs of keys.
struct Packed {
  Pair *k, *v;
};

Packed packed_at(float* base, int64_t kv, int64_t keys, int64_t size) {
  Pair* k = pairs_at(base + kv * keys * size);
  return {k, k + keys * size / 2};
}

// score = P without its denominator as pairs of keys, in its own place: of `visible` keys, zeros up to `width`, which
// is whole panels. Returns the denominator; maximum is that of the scaled scores.
float softmax(float* score, int64_t visible, int64_t width, float scale, float* maximum) {
  const __m512 lowest = _mm512_set1_ps(-INFINITY);
  __m512 most = lowest, sum = _mm512_setzero_ps();
  for (int64_t c = 0; c < visible; c += 16) {
    most = _mm512_max_ps(most, _mm512_mask_loadu_ps(lowest, first(visible - c), score + c));
  }
  *maximum = _mm512_reduce_max_ps(most) * scale;
  for (int64_t c = 0; c < width; c += kBf16Cols) {
    __m512 p[2];
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t at = c + 16 * half;
      p[half] = _mm512_maskz_mov_ps(first(visible - at), exp_lanes(_mm512_loadu_ps(score + at) * scale - *maximum));
      sum = sum + p[half];
    }
    _mm512_storeu_si512(score + c / 2, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(p[1], p[0])));
  }
  return _mm512_reduce_add_ps(sum);
}

// kBf16Rows queries from `begin` on.
void forward_tile(const AttentionSpan& span, const AttentionShape& s, int64_t h, int64_t begin, const Packed& packed,
                  int64_t v_panel, Pair* q, float* scores) {
  const int64_t size = s.head_size, pairs = (size + 1) / 2, q_stride = round_up(size, 32) / 2;
  const int64_t rows = smaller(kBf16Rows, span.q.rows - begin), seen = begin + rows;
  const int64_t width = round_up(seen, kBf16Cols), stride = width + 16;  // an odd number of cache lines
  pack_rows(q, q_stride, slice(head(span.q, h, size), begin, rows));
  for (int64_t k = 0; k < seen; k += kBf16Cols) {
    multiply_tile({scores + k, kBf16Rows, kBf16Cols, stride}, false, q, q_stride, packed.k + k * pairs, pairs);
  }
  float reciprocal[kBf16Rows] = {};
  for (int64_t r = 0; r < rows; ++r) {
    float maximum;
    const float sum = softmax(scores + r * stride, begin + r + 1, width, scale_of(s), &maximum);
    reciprocal[r] = 1.0f / sum;
    span.lse[(begin + r) * s.heads + h] = maximum + std::log(sum);
  }
  for (int64_t c = 0; c < size; c += kBf16Cols) {
    const auto [sum] =
        Bf16Tile<kBf16Rows>::product(pairs_at(scores), stride, 1, packed.v + c / kBf16Cols * v_panel, (seen + 1) / 2);
#pragma GCC unroll 14
    for (int64_t r = 0; r < kBf16Rows; ++r) {
      if (r >= rows) break;
      float* to = span.out.row(begin + r) + h * size + c;
      _mm512_mask_storeu_ps(to, first(size - c), sum[r][0] * reciprocal[r]);
      _mm512_mask_storeu_ps(to + 16, first(size - c - 16), sum[r][1] * reciprocal[r]);
    }
  }
}

}  // namespace

void bf16_attention_forward(const AttentionSpan* spans, int64_t count, const AttentionShape& s, float* scratch) {
  const int64_t size = s.head_size, padded = round_up(size, kBf16Cols), pairs = (size + 1) / 2;
  const int64_t group = s.heads / s.kv_heads;
  int64_t longest = 0;
  for (int64_t n = 0; n < count; ++n) longest = longest > spans[n].k.rows ? longest : spans[n].k.rows;
  const int64_t q_size = kBf16Rows * padded / 2, of_thread = q_size + kBf16Rows * (round_up(longest, kBf16Cols) + 16);
  scratch = aligned(scratch);
  float* panels = scratch + omp_get_max_threads() * round_up(of_thread, 16);
#pragma omp parallel
  {
    float* q = scratch + omp_get_thread_num() * round_up(of_thread, 16);
    float* base = panels;
    for (int64_t n = 0; n < count; ++n) {
      const int64_t rows = spans[n].k.rows, keys = round_up(rows, kKeyBlock),
                    of_head = (rows + kBf16Cols - 1) / kBf16Cols;
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < s.kv_heads * of_head; ++task) {
        const int64_t kv = task / of_head, k = task % of_head * kBf16Cols;
        const Packed packed = packed_at(base, kv, keys, padded);
        pack_panel_of_rows(packed.k + k * pairs, head(spans[n].k, kv, size), k);
        pack_row_pairs(packed.v, keys / 2 * kBf16Cols, head(spans[n].v, kv, size), k, smaller(kBf16Cols, rows - k));
      }
      base += s.kv_heads * keys * padded;
    }
#pragma omp barrier
    base = panels;
    for (int64_t n = 0; n < count; ++n) {
      const int64_t rows = spans[n].k.rows, keys = round_up(rows, kKeyBlock),
                    tiles = (rows + kBf16Rows - 1) / kBf16Rows;
#pragma omp for schedule(dynamic) nowait
      for (int64_t task = 0; task < tiles * s.heads; ++task) {
        const int64_t h = task % s.heads;
        // The last rows first: they see the most keys.
        forward_tile(spans[n], s, h, (tiles - 1 - task / s.heads) * kBf16Rows, packed_at(base, h / group, keys, padded),
                     keys / 2 * kBf16Cols, pairs_at(q), q + q_size);
      }
      base += s.kv_heads * keys * padded;
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
