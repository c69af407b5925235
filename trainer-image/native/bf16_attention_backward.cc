// Backward is attention_backward.cc's, a block of queries against a block of keys at a time: P and dS are made in
// registers and laid out by pairs of keys for dQ and by pairs of queries for dV and dK.
#include "attention_chunks.h"
#include "bf16_attention_packing.h"
#include "bf16_tile.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int64_t kBlock = kBf16AttentionBlock;

// The memory of one span and key head: K^T and V^T by panels of keys, K by pairs of keys, and (dK, dV) of each chunk.
struct Store {
  int64_t keys, size;  // padded to whole tiles
  float* base;
  Pair* k_panels() const { return pairs_at(base); }
  Pair* v_panels() const { return k_panels() + keys * size / 2; }
  Pair* k_pairs() const { return v_panels() + keys * size / 2; }
  int64_t k_panel() const { return keys / 2 * kBf16Cols; }
  float* dk(int64_t chunk) const { return base + (3 + 4 * chunk) * keys * size / 2; }
  float* dv(int64_t chunk) const { return dk(chunk) + keys * size; }
  static constexpr int64_t kCols = kBf16Cols, kSumRows = 8;  // kSumRows: keys of a tile of dV or dK
  static int64_t floats(int64_t keys, int64_t size, int64_t chunks) { return (3 + 4 * chunks) * keys * size / 2; }
};

// kBlock queries of one head, and what they have of kKeyBlock keys.
struct Block {
  Pair *q, *dout, *q_pairs, *dout_pairs;  // by pairs of columns, then by pairs of queries
  Pair *ds, *p_pairs, *ds_pairs;          // ds: by pairs of keys
  alignas(64) float lse[kBlock], delta[kBlock];
  static constexpr int64_t kRows = kBlock, kTile = kBf16Rows;
  static int64_t floats(int64_t size) { return kBlock * (2 * size + kKeyBlock * 3 / 2); }
  static Block at(float* base, int64_t size) {
    Pair* q = pairs_at(base);
    Pair* ds = q + 2 * kBlock * size;
    return {q,  q + kBlock * size / 2,       q + kBlock * size,       q + 3 * kBlock * size / 2,
            ds, ds + kBlock * kKeyBlock / 2, ds + kBlock * kKeyBlock, {},
            {}};
  }
};

constexpr int64_t kSumRows = Store::kSumRows, kPanel = kBlock / 2 * kBf16Cols;  // kPanel: of q_pairs and dout_pairs
static_assert(kBlock % kBf16Rows == 0 && kBf16Rows % 2 == 0 && kKeyBlock % kBf16Cols == 0 && kBf16Cols % kSumRows == 0);

// P and dS of kBf16Rows queries from i on against the panel of keys at `column`, of which query i sees `visible`.
void score_tile(const Block& b, int64_t i, int64_t rows, int64_t column, int64_t visible, const Pair* k_panel,
                const Pair* v_panel, int64_t pairs, int64_t stride, float scale) {
  alignas(64) __m512 p[kBf16Rows][2];
  {
    const auto [sum] = Bf16Tile<kBf16Rows>::product(b.q + i * stride, stride, 1, k_panel, pairs);
#pragma GCC unroll 14
    for (int64_t r = 0; r < kBf16Rows; ++r) {
      const int64_t seen = i + r < rows ? visible + r : 0;
#pragma GCC unroll 2
      for (int64_t half = 0; half < 2; ++half) {
        p[r][half] = _mm512_maskz_mov_ps(first(seen - 16 * half), exp_lanes(sum[r][half] * scale - b.lse[i + r]));
      }
    }
  }
  auto [ds] = Bf16Tile<kBf16Rows>::product(b.dout + i * stride, stride, 1, v_panel, pairs);
#pragma GCC unroll 14
  for (int64_t r = 0; r < kBf16Rows; ++r) {
    for (int64_t half = 0; half < 2; ++half) ds[r][half] = p[r][half] * (ds[r][half] - b.delta[i + r]) * scale;
    _mm512_store_si512(b.ds + (i + r) * kKeyBlock / 2 + column / 2,
                       reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(ds[r][1], ds[r][0])));
  }
#pragma GCC unroll 7
  for (int64_t r = 0; r < kBf16Rows; r += 2) {
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t at = (i + r) / 2 * kKeyBlock + column + 16 * half;
      _mm512_store_si512(b.p_pairs + at, interleave(p[r][half], p[r + 1][half]));
      _mm512_store_si512(b.ds_pairs + at, interleave(ds[r][half], ds[r + 1][half]));
    }
  }
}

// sums (kSumRows, size) += x^T y over the pairs of queries from `from` on: x has kKeyBlock columns, y is panels.
void add_sums(float* sums, int64_t size, const Pair* x, const Pair* y, int64_t from, int64_t pairs) {
  for (int64_t c = 0; c < size; c += kBf16Cols, y += kPanel) {
    const auto [sum] =
        Bf16Tile<kSumRows>::product(x + from * kKeyBlock, 1, kKeyBlock, y + from * kBf16Cols, pairs - from);
#pragma GCC unroll 8
    for (int64_t i = 0; i < kSumRows; ++i) {
      float* to = sums + i * size + c;
      _mm512_storeu_ps(to, _mm512_loadu_ps(to) + sum[i][0]);
      _mm512_storeu_ps(to + 16, _mm512_loadu_ps(to + 16) + sum[i][1]);
    }
  }
}

// The rows [begin, begin + rows) of head h: adds to dk and dv, writes dq.
void backward_block(const AttentionSpan& span, const AttentionGradients& g, const AttentionShape& s, int64_t h,
                    int64_t begin, int64_t rows, const Store& store, int64_t chunk, Block& b) {
  const int64_t head_size = s.head_size, size = store.size, pairs = (head_size + 1) / 2, stride = size / 2;
  const ConstRows out = head(span.out, h, head_size), all_dout = head(g.dout, h, head_size);
  const ConstRows q = slice(head(span.q, h, head_size), begin, rows), dout = slice(all_dout, begin, rows);
  const Rows dq = slice(columns(g.dq, h * head_size, head_size), begin, rows);
  pack_rows(b.q, stride, q);
  pack_rows(b.dout, stride, dout);
  pack_row_pairs(b.q_pairs, kPanel, q, 0, rows);
  pack_row_pairs(b.dout_pairs, kPanel, dout, 0, rows);
  for (int64_t i = 0; i < round_up(rows, kBf16Rows); ++i) {
    b.lse[i] = i < rows ? span.lse[(begin + i) * s.heads + h] : 0.0f;
    b.delta[i] = i < rows ? dot(dout.row(i), out.row(begin + i), head_size) : 0.0f;
  }
  for (int64_t k0 = 0; k0 < begin + rows; k0 += kKeyBlock) {
    const int64_t width = smaller(kKeyBlock, begin + rows - k0);
    for (int64_t i = 0; i < rows; i += kBf16Rows) {
      const int64_t row = begin + i - k0,
                    seen = smaller(width, row + kBf16Rows);  // keys that the last of the tile sees
      if (seen <= 0) continue;
      for (int64_t c = 0; c < seen; c += kBf16Cols) {
        score_tile(b, i, rows, c, row + 1 - c, store.k_panels() + (k0 + c) * pairs, store.v_panels() + (k0 + c) * pairs,
                   pairs, stride, scale_of(s));
      }
      for (int64_t c = 0; c < head_size; c += kBf16Cols) {
        multiply_tile(slice(columns(dq, c, smaller(kBf16Cols, head_size - c)), i, smaller(kBf16Rows, rows - i)), k0 > 0,
                      b.ds + i * kKeyBlock / 2, kKeyBlock / 2,
                      store.k_pairs() + c / kBf16Cols * store.k_panel() + k0 / 2 * kBf16Cols, (seen + 1) / 2);
      }
    }
    for (int64_t j = 0; j < width; j += kSumRows) {
      // The first tile of queries that sees key j.
      const int64_t from = k0 + j > begin ? (k0 + j - begin) / kBf16Rows * kBf16Rows / 2 : 0, last = (rows + 1) / 2;
      add_sums(store.dv(chunk) + (k0 + j) * size, size, b.p_pairs + j, b.dout_pairs, from, last);
      add_sums(store.dk(chunk) + (k0 + j) * size, size, b.ds_pairs + j, b.q_pairs, from, last);
    }
  }
}

void pack(const AttentionSpan& span, int64_t kv, int64_t head_size, const Store& store, int64_t k) {
  const ConstRows keys = head(span.k, kv, head_size), values = head(span.v, kv, head_size);
  const int64_t pairs = (head_size + 1) / 2;
  pack_panel_of_rows(store.k_panels() + k * pairs, keys, k);
  pack_panel_of_rows(store.v_panels() + k * pairs, values, k);
  pack_row_pairs(store.k_pairs(), store.k_panel(), keys, k, smaller(kBf16Cols, keys.rows - k));
}

}  // namespace

void bf16_attention_backward(const AttentionSpan* spans, const AttentionGradients* gradients, int64_t count,
                             const AttentionShape& s, float* scratch) {
  backward_by_chunks<Store, Block>(spans, gradients, count, s, aligned(scratch));
}

}  // namespace humanizer::HUMANIZER_ISA
