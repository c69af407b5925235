// With P = softmax(scale Q K^T), made again from lse:  dV = P^T dO;  dS = P (dO V^T - rowsum(dO out)) scale;
// dQ = dS K;  dK = dS^T Q.  A task is one key head and one chunk of the queries, with a dK and dV of its own; the
// chunks' are added in order at the end.
#include <cmath>

#include "attention.h"
#include "attention_chunks.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

static_assert(kAttentionBlock % kTileRows == 0 && kKeyBlock % kTileRows == 0 && kKeyBlock % kTileCols == 0);

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The memory of one span and key head: K^T and V^T as panels, K as rows, and (dK, dV) of each chunk.
struct Store {
  int64_t keys, size;  // padded to whole tiles
  float* base;
  float* k_panels() const { return base; }
  float* v_panels() const { return base + keys * size; }
  float* k_rows() const { return base + 2 * keys * size; }
  float* dk(int64_t chunk) const { return base + (3 + 2 * chunk) * keys * size; }
  float* dv(int64_t chunk) const { return dk(chunk) + keys * size; }
  static constexpr int64_t kCols = kTileCols, kSumRows = kTileRows;
  static int64_t floats(int64_t keys, int64_t size, int64_t chunks) { return (3 + 2 * chunks) * keys * size; }
};

// kAttentionBlock rows of one head, padded with zeros, and tiles of kKeyBlock columns.
struct Block {
  float *q, *dout, *dq, *p, *ds, *lse, *delta;
  static constexpr int64_t kRows = kAttentionBlock, kTile = kTileRows;
  static int64_t floats(int64_t size) { return kAttentionBlock * (3 * size + 2 * kKeyBlock + 2); }
  static Block at(float* base, int64_t size) {
    float* p = base + 3 * kAttentionBlock * size;
    float *ds = p + kAttentionBlock * kKeyBlock, *lse = ds + kAttentionBlock * kKeyBlock;
    return {base, base + kAttentionBlock * size, base + 2 * kAttentionBlock * size, p, ds, lse, lse + kAttentionBlock};
  }
};

void copy_rows(float* to, int64_t size, ConstRows x, int64_t begin, int64_t rows, int64_t whole) {
  for (int64_t i = 0; i < whole; ++i) {
    for (int64_t c = 0; c < size; ++c) to[i * size + c] = i < rows && c < x.cols ? x.row(begin + i)[c] : 0.0f;
  }
}

// P and dS of the rows [i, i + kTileRows) of a block against one panel of keys; visible: keys of it that row i sees.
void score_tile(const Block& b, int64_t i, int64_t rows, int64_t column, int64_t visible, const float* k_panel,
                const float* v_panel, int64_t head_size, int64_t size, float scale) {
  float *p = b.p + i * kKeyBlock + column, *ds = b.ds + i * kKeyBlock + column;
  Tile t = multiply(b.q + i * size, size, 1, k_panel, kTileCols, head_size);
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int half = 0; half < 2; ++half) t.at[r][half] = exp_lanes(t.at[r][half] * scale - b.lse[i + r]);
  }
  write_tile<false>(p, kKeyBlock, t);
  if (visible < kTileCols || i + kTileRows > rows) {
    for (int64_t r = 0; r < kTileRows; ++r) {
      const int64_t end = i + r < rows ? visible + r : 0;
      for (int64_t j = end < 0 ? 0 : end; j < kTileCols; ++j) p[r * kKeyBlock + j] = 0;
    }
  }
  t = multiply(b.dout + i * size, size, 1, v_panel, kTileCols, head_size);
  for (int64_t r = 0; r < kTileRows; ++r) {
    for (int half = 0; half < 2; ++half) {
      t.at[r][half] = load(p + r * kKeyBlock + half * kLanes) * (t.at[r][half] - b.delta[i + r]) * scale;
    }
  }
  write_tile<false>(ds, kKeyBlock, t);
}

// The rows [begin, begin + rows) of head h: adds to dk and dv, writes dq.
void backward_block(const AttentionSpan& span, const AttentionGradients& g, const AttentionShape& s, int64_t h,
                    int64_t begin, int64_t rows, const Store& store, int64_t chunk, const Block& b) {
  const int64_t head_size = s.head_size, size = store.size, whole = round_up(rows, kTileRows);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_size));
  const ConstRows out = columns(ConstRows(span.out), h * head_size, head_size),
                  dout = columns(g.dout, h * head_size, head_size);
  copy_rows(b.q, size, columns(span.q, h * head_size, head_size), begin, rows, whole);
  copy_rows(b.dout, size, dout, begin, rows, whole);
  for (int64_t i = 0; i < whole * size; ++i) b.dq[i] = 0;
  for (int64_t i = 0; i < whole; ++i) {
    b.lse[i] = i < rows ? span.lse[(begin + i) * s.heads + h] : 0.0f;
    b.delta[i] = i < rows ? dot(dout.row(begin + i), out.row(begin + i), head_size) : 0.0f;
  }
  for (int64_t k0 = 0; k0 < begin + rows; k0 += kKeyBlock) {
    const int64_t width = smaller(kKeyBlock, begin + rows - k0);
    for (int64_t i = 0; i < rows; i += kTileRows) {
      const int64_t row = begin + i - k0, seen = smaller(width, row + kTileRows);  // keys that the last of six sees
      if (seen <= 0) continue;
      for (int64_t c = 0; c < seen; c += kTileCols) {
        score_tile(b, i, rows, c, row + 1 - c, store.k_panels() + (k0 + c) * head_size,
                   store.v_panels() + (k0 + c) * head_size, head_size, size, scale);
      }
      for (int64_t r = i; r < i + kTileRows; ++r) {
        for (int64_t c = round_up(seen, kTileCols); c < kKeyBlock; ++c) {
          b.p[r * kKeyBlock + c] = b.ds[r * kKeyBlock + c] = 0;
        }
      }
      for (int64_t c = 0; c < size; c += kTileCols) {
        write_tile<true>(b.dq + i * size + c, size,
                         multiply(b.ds + i * kKeyBlock, kKeyBlock, 1, store.k_rows() + k0 * size + c, size, seen));
      }
    }
    for (int64_t j = 0; j < width; j += kTileRows) {
      const int64_t first = k0 + j > begin ? (k0 + j - begin) / kTileRows * kTileRows : 0;  // the first row that sees j
      for (int64_t c = 0; c < size; c += kTileCols) {
        const int64_t at = (k0 + j) * size + c, from = first * kKeyBlock + j;
        write_tile<true>(store.dv(chunk) + at, size,
                         multiply(b.p + from, 1, kKeyBlock, b.dout + first * size + c, size, rows - first));
        write_tile<true>(store.dk(chunk) + at, size,
                         multiply(b.ds + from, 1, kKeyBlock, b.q + first * size + c, size, rows - first));
      }
    }
  }
  for (int64_t i = 0; i < rows; ++i) {
    float* dq = g.dq.row(begin + i) + h * head_size;
    for (int64_t c = 0; c < head_size; ++c) dq[c] = b.dq[i * size + c];
  }
}

void pack(const AttentionSpan& span, int64_t kv, int64_t head_size, const Store& store, int64_t k) {
  const ConstRows keys = columns(span.k, kv * head_size, head_size),
                  values = columns(span.v, kv * head_size, head_size);
  pack_panel_transposed(store.k_panels() + k * head_size, keys, k, 1);
  pack_panel_transposed(store.v_panels() + k * head_size, values, k, 1);
  const int64_t rows = smaller(kTileCols, span.k.rows - k);
  copy_rows(store.k_rows() + k * store.size, store.size, keys, k, rows, kTileCols);
}

}  // namespace

void attention_backward(const AttentionSpan* spans, const AttentionGradients* gradients, int64_t count,
                        const AttentionShape& s, float* scratch) {
  backward_by_chunks<Store, Block>(spans, gradients, count, s, scratch);
}

}  // namespace humanizer::HUMANIZER_ISA
