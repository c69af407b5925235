// Forward takes as many rows as a tile has. Backward takes kBf16LoraBlock rows and, within them, strips of kStrip
// columns, each read once and laid out in both ways: by pairs of columns for dh and dx, by pairs of rows for dA and dB.
#include "bf16_lora.h"

#include "bf16_tile.h"
#include "dropout_mask.h"
#include "lora_threads.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int64_t kBlock = kBf16LoraBlock, kStrip = 64, kGroups = kStrip / 32;
constexpr int64_t kSumRows = 8;  // of a tile of dA or dB
static_assert(kBlock % kBf16Rows == 0 && kBf16Rows % 2 == 0 && kStrip % kBf16Cols == 0 && 32 % kSumRows == 0);

// Fetches rows x kBf16Cols values that are read next.
void fetch(ConstRows x, int64_t column) {
  if (column >= x.cols) return;
  for (int64_t r = 0; r < x.rows; ++r) {
    __builtin_prefetch(x.row(r) + column, 1, 2);
    __builtin_prefetch(x.row(r) + smaller(column + 16, x.cols - 1), 1, 2);
  }
}

__mmask16 half_of(uint32_t kept, int64_t half) { return static_cast<__mmask16>(kept >> half); }

// rows (x.rows, stride pairs) = x by pairs of columns, what is dropped as zeros; rows up to a whole tile are zero.
void pack_rows(Pair* rows, int64_t stride, ConstRows x, int64_t row, const Dropout& d) {
  constexpr int64_t kDrawn = 16;  // groups drawn at a time
  for (int64_t r = 0; r < round_up(x.rows, kBf16Rows); ++r, rows += stride) {
    for (int64_t k = 0; k < stride; k += 16 * kDrawn) {
      const int64_t groups = smaller(kDrawn, (stride - k) / 16);
      uint32_t kept[kDrawn];
      if (d.rate != 0 && r < x.rows) take_mask(kept, d, row + r, x.cols, k / 16, groups);
      for (int64_t g = 0; g < groups; ++g) {
        const int64_t pair = k + 16 * g;
        __m512i pairs = r < x.rows ? pairs_of(x.row(r) + 2 * pair, x.cols - 2 * pair) : _mm512_setzero_si512();
        if (d.rate != 0 && r < x.rows) pairs = _mm512_maskz_mov_epi16(kept[g], pairs);
        _mm512_store_si512(rows + pair, pairs);
      }
    }
  }
}

// rows (x.rows, stride pairs) = scale * x by pairs of columns; rows up to a whole tile are zero.
void pack_scaled(Pair* rows, int64_t stride, ConstRows x, float scale) {
  for (int64_t r = 0; r < round_up(x.rows, kBf16Rows); ++r, rows += stride) {
    for (int64_t k = 0; k < stride; k += 16) {
      const auto part = [&](int64_t c) {
        return r < x.rows ? _mm512_maskz_loadu_ps(first(x.cols - c), x.row(r) + c) * scale : _mm512_setzero_ps();
      };
      _mm512_store_si512(rows + k, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(part(2 * k + 16), part(2 * k))));
    }
  }
}

// Panels of x (rows, cols), at most kBlock rows, by pairs of rows: panel p begins at panels + p * kBlock / 2 *
// kBf16Cols.
void pack_row_pairs(Pair* panels, ConstRows x) {
  for (int64_t r = 0; r < x.rows; r += 2, panels += kBf16Cols) {
    pack_two(panels, kBlock / 2 * kBf16Cols, x.row(r), r + 1 < x.rows ? x.row(r + 1) : nullptr, x.cols);
  }
}

// The same of what is kept of x: kGroups words a row.
void pack_kept_pairs(Pair* panels, ConstRows x, const uint32_t* kept) {
  for (int64_t r = 0; r < x.rows; r += 2, panels += kBf16Cols, kept += 2 * kGroups) {
    const bool both = r + 1 < x.rows;
    for (int64_t c = 0; c < x.cols; c += 16) {
      const auto mask = [&](int64_t of) -> __mmask16 {
        return first(x.cols - c) & half_of(kept[of * kGroups + c / 32], c % 32);
      };
      _mm512_store_si512(panels + c / 32 * (kBlock / 2 * kBf16Cols) + c % 32,
                         pairs_of_two(x.row(r) + c, mask(0), x.row(both ? r + 1 : r) + c, both ? mask(1) : 0));
    }
  }
}

// sums (cols, padded) = or += x^T narrow, both as panels by pairs of rows.
template <bool kAdd>
void add_sums(float* sums, int64_t padded, const Pair* x, int64_t cols, const Pair* narrow, int64_t row_pairs) {
  constexpr int64_t kPanel = kBlock / 2 * kBf16Cols;
  for (int64_t c = 0; c < cols; c += kSumRows) {
    for (int64_t p = 0; p < padded; p += kBf16Cols) {
      const auto [sum] = Bf16Tile<kSumRows>::product(x + c / 32 * kPanel + c % 32, 1, kBf16Cols,
                                                     narrow + p / kBf16Cols * kPanel, row_pairs);
      float* to = sums + c * padded + p;
#pragma GCC unroll 8
      for (int64_t i = 0; i < kSumRows; ++i, to += padded) {
        _mm512_storeu_ps(to, kAdd ? _mm512_loadu_ps(to) + sum[i][0] : sum[i][0]);
        _mm512_storeu_ps(to + 16, kAdd ? _mm512_loadu_ps(to + 16) + sum[i][1] : sum[i][1]);
      }
    }
  }
}

// dx = a b where it is kept, else 0, or dx += ; for a tile of which dx has what exists.
template <bool kAdd>
void add_kept(Rows dx, const Pair* a, int64_t a_stride, const Pair* b, int64_t pairs, const uint32_t* kept) {
  const auto [sum] = Bf16Tile<kBf16Rows>::product(a, a_stride, 1, b, pairs);
  const bool whole = dx.cols >= kBf16Cols;
#pragma GCC unroll 14
  for (int64_t i = 0; i < kBf16Rows; ++i) {
    if (i >= dx.rows) break;
    for (int64_t half = 0; half < 2; ++half) {
      const __mmask16 there = first(dx.cols - 16 * half), chosen = half_of(kept[i * kGroups], 16 * half);
      float* to = dx.row(i) + 16 * half;
      if (whole) {
        const __m512 old = kAdd ? _mm512_loadu_ps(to) : _mm512_setzero_ps();
        _mm512_storeu_ps(to, _mm512_mask_add_ps(old, chosen, old, sum[i][half]));
      } else {
        const __m512 old = kAdd ? _mm512_maskz_loadu_ps(there, to) : _mm512_setzero_ps();
        _mm512_mask_storeu_ps(to, there, _mm512_mask_add_ps(old, chosen, old, sum[i][half]));
      }
    }
  }
}

// What one thread adds up over its rows, without scale, and what it has of a block of them.
struct Workspace {
  float *sums_a, *sums_b;  // dA^T (in, padded), dB (out, padded)
  float* dh;               // (kBlock, padded)
  Pair *dh_rows, *dh_pairs, *h_pairs;
};

Workspace workspace_of(float* base, int64_t in, int64_t out, int64_t padded) {
  float *sums_b = base + round_up(in, 32) * padded, *dh = sums_b + round_up(out, 32) * padded;
  Pair* pairs = pairs_at(dh + kBlock * padded);
  return {base, sums_b, dh, pairs, pairs + kBlock * padded / 2, pairs + kBlock * padded};
}

struct Backward {
  Rows dx;
  ConstRows dy, x;
  const LoraWeights& w;
  const Dropout& dropout;
  const Pair *a_panels, *b_panels;  // A by columns of x; B by columns of h
  int64_t padded;

  // dh, times all that it is multiplied by, as both dx and dA take it; and dB.
  template <bool kAdd>
  void below(const Workspace& own, int64_t row, int64_t rows) const {
    alignas(64) Pair strip[kBlock * kStrip / 2], by_rows[kBlock * kStrip / 2];
    const int64_t pairs = (dy.cols + 1) / 2;
    for (int64_t i = 0; i < kBlock * padded; ++i) own.dh[i] = 0;
    for (int64_t o = 0; o < dy.cols; o += kStrip) {
      const ConstRows from = columns(slice(dy, row, rows), o, smaller(kStrip, dy.cols - o));
      pack_rows(strip, kStrip / 2, from, row, Dropout{});
      pack_row_pairs(by_rows, from);
      fetch(slice(dy, row, rows), o + kStrip);
      fetch(slice(dy, row, rows), o + kStrip + kBf16Cols);
      for (int64_t p = 0; p < padded; p += kBf16Cols) {
        for (int64_t i = 0; i < rows; i += kBf16Rows) {
          multiply_tile(dense(own.dh + i * padded + p, kBf16Rows, kBf16Cols), padded, strip + i * kStrip / 2,
                        b_panels + p * pairs + o / 2 * kBf16Cols, (from.cols + 1) / 2);
        }
      }
      add_sums<kAdd>(own.sums_b + o * padded, padded, by_rows, from.cols, own.h_pairs, (rows + 1) / 2);
    }
    const Rows dh = dense(own.dh, rows, padded);
    const float scale = w.scale * kept_scale(dropout.rate);
    for (int64_t i = 0; i < rows * padded; ++i) own.dh[i] *= scale;
    pack_scaled(own.dh_rows, padded / 2, dh, 1);
    pack_row_pairs(own.dh_pairs, dh);
  }

  static void multiply_tile(Rows c, int64_t stride, const Pair* a, const Pair* b, int64_t pairs) {
    c.stride = stride;
    HUMANIZER_ISA::multiply_tile(c, true, a, kStrip / 2, b, pairs);
  }

  // dA and dx.
  template <bool kAdd>
  void above(const Workspace& own, int64_t row, int64_t rows) const {
    alignas(64) Pair by_rows[kBlock * kStrip / 2];
    uint32_t kept[kBlock * kGroups];
    const int64_t pairs = (w.rank + 1) / 2;
    for (uint32_t& word : kept) word = 0xffffffffu;
    for (int64_t c = 0; c < x.cols; c += kStrip) {
      const ConstRows from = columns(slice(x, row, rows), c, smaller(kStrip, x.cols - c));
      if (dropout.rate != 0) {
        for (int64_t r = 0; r < rows; ++r) {
          take_mask(kept + r * kGroups, dropout, row + r, x.cols, c / 32, (from.cols + 31) / 32);
        }
      }
      pack_kept_pairs(by_rows, from, kept);
      fetch(slice(x, row, rows), c + kStrip);
      fetch(slice(x, row, rows), c + kStrip + kBf16Cols);
      add_sums<kAdd>(own.sums_a + c * padded, padded, by_rows, from.cols, own.dh_pairs, (rows + 1) / 2);
      if (!dx.data) continue;
      for (int64_t p = 0; p < from.cols; p += kBf16Cols) {
        const Rows to = columns(slice(dx, row, rows), c + p, smaller(kBf16Cols, from.cols - p));
        fetch(slice(dx, row, rows), c + p + kBf16Cols);
        for (int64_t i = 0; i < rows; i += kBf16Rows) {
          const Rows tile = slice(to, i, smaller(kBf16Rows, rows - i));
          const Pair *dh = own.dh_rows + i * padded / 2, *panel = a_panels + (c + p) * pairs;
          const uint32_t* of_tile = kept + i * kGroups + p / 32;
          w.beta == 0 ? add_kept<false>(tile, dh, padded / 2, panel, pairs, of_tile)
                      : add_kept<true>(tile, dh, padded / 2, panel, pairs, of_tile);
        }
      }
    }
  }
};

}  // namespace

void bf16_lora_forward(Rows y, Rows h, ConstRows x, const LoraWeights& w, const Dropout& dropout, float* scratch) {
  const int64_t in = x.cols, out = y.cols, padded = round_up(w.rank, kBf16Cols), stride = round_up(in, 32) / 2;
  Pair *a_panels = pairs_at(aligned(scratch)), *b_panels = a_panels + stride * padded;
  Pair* of_threads = b_panels + round_up(out, 32) * padded / 2;
  const int64_t in_pairs = (in + 1) / 2, rank_pairs = (w.rank + 1) / 2, of_thread = kBf16Rows * (stride + padded / 2);
#pragma omp parallel
  {
#pragma omp for schedule(static) nowait
    for (int64_t p = 0; p < w.rank; p += kBf16Cols) {
      pack_transposed(a_panels + p * in_pairs, w.a + p * in, in, smaller(kBf16Cols, w.rank - p), in);
    }
#pragma omp for schedule(static)
    for (int64_t p = 0; p < out; p += kBf16Cols) {
      pack_transposed(b_panels + p * rank_pairs, w.b + p * w.rank, w.rank, smaller(kBf16Cols, out - p), w.rank);
    }
    Pair *x_rows = of_threads + omp_get_thread_num() * of_thread, *h_rows = x_rows + kBf16Rows * stride;
    const Range own = own_rows(x.rows, kBf16Rows);
    for (int64_t row = own.begin; row < own.end; row += kBf16Rows) {
      const int64_t rows = smaller(kBf16Rows, own.end - row);
      const Rows here = slice(h, row, rows), to = slice(y, row, rows);
      fetch(to, 0);
      if (dropout.rate != 0) keep_mask(dropout, row, rows, in);
      pack_rows(x_rows, stride, slice(x, row, rows), row, dropout);
      for (int64_t p = 0; p < w.rank; p += kBf16Cols) {
        multiply_tile(columns(here, p, smaller(kBf16Cols, w.rank - p)), false, x_rows, stride, a_panels + p * in_pairs,
                      in_pairs);
      }
      if (dropout.rate != 0) {
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t j = 0; j < w.rank; ++j) here.row(r)[j] *= kept_scale(dropout.rate);
        }
      }
      pack_scaled(h_rows, padded / 2, here, w.scale);
      for (int64_t p = 0; p < out; p += kBf16Cols) {
        fetch(to, p + kBf16Cols);
        multiply_tile(columns(to, p, smaller(kBf16Cols, out - p)), w.beta != 0, h_rows, padded / 2,
                      b_panels + p * rank_pairs, rank_pairs);
      }
    }
  }
}

void bf16_lora_backward(Rows dx, float* da, float* db, ConstRows dy, ConstRows x, ConstRows h, const LoraWeights& w,
                        const Dropout& dropout, float* scratch) {
  const int64_t in = x.cols, out = dy.cols, padded = round_up(w.rank, kBf16Cols);
  const int64_t out_pairs = (out + 1) / 2, rank_pairs = (w.rank + 1) / 2;
  Pair *a_panels = pairs_at(aligned(scratch)), *b_panels = a_panels + round_up(in, 32) * padded / 2;
  float* of_threads = reinterpret_cast<float*>(b_panels + round_up(out, 32) * padded / 2);
  const int64_t of_thread = (round_up(in, 32) + round_up(out, 32) + 3 * kBlock) * padded;
  const Backward pass{dx, dy, x, w, dropout, a_panels, b_panels, padded};
#pragma omp parallel
  {
#pragma omp for schedule(static) nowait
    for (int64_t j = 0; j < w.rank; j += 2) {
      pack_two(a_panels + j / 2 * kBf16Cols, rank_pairs * kBf16Cols, w.a + j * in,
               j + 1 < w.rank ? w.a + (j + 1) * in : nullptr, in);
    }
#pragma omp for schedule(static)
    for (int64_t o = 0; o < out; o += 2) {
      pack_two(b_panels + o / 2 * kBf16Cols, out_pairs * kBf16Cols, w.b + o * w.rank,
               o + 1 < out ? w.b + (o + 1) * w.rank : nullptr, w.rank);
    }
    const Workspace mine = workspace_of(of_threads + omp_get_thread_num() * of_thread, in, out, padded);
    const Range own = own_rows(x.rows, kBf16Rows);
    for (int64_t row = own.begin; row < own.end; row += kBlock) {
      const int64_t rows = smaller(kBlock, own.end - row);
      pack_row_pairs(mine.h_pairs, slice(h, row, rows));
      if (row == own.begin) {
        pass.below<false>(mine, row, rows);
        pass.above<false>(mine, row, rows);
      } else {
        pass.below<true>(mine, row, rows);
        pass.above<true>(mine, row, rows);
      }
    }
#pragma omp barrier
    const int64_t threads = (x.rows + rows_of_thread(x.rows, kBf16Rows) - 1) / rows_of_thread(x.rows, kBf16Rows);
    join_sums(da, db, of_threads, of_threads + round_up(in, 32) * padded, of_thread, threads, in, out, padded, w);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
