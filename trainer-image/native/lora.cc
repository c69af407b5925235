// Both directions go through the rows in blocks of kBlock and, within a block, through the columns in strips of kStrip,
// copied into the nearest cache: every value of x, y, dx and dy is fetched from memory once.
#include "lora.h"

#include "dropout_mask.h"
#include "few_rows.h"
#include "lora_threads.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int64_t kBlock = 48, kStrip = 96;
static_assert(kBlock % kTileRows == 0 && kStrip % kTileRows == 0 && kStrip % kTileCols == 0 && kStrip % 32 == 0);

int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// keep = kept_scale where dropout keeps a value of x, else 0: columns [begin, begin + kStrip) of the rows from row on.
void take_strip(float* keep, int64_t row, int64_t rows, ConstRows x, int64_t begin, const Dropout& d) {
  uint32_t words[kStrip / 32];
  const int64_t count = (smaller(kStrip, x.cols - begin) + 31) / 32;
  for (int64_t r = 0; r < rows; ++r, keep += kStrip) {
    take_mask(words, d, row + r, x.cols, begin / 32, count);
    spread_mask(keep, words, count, kept_scale(d.rate));
  }
}

// Fetches rows x cols values that are read next: strips are too short for the processor to see where they go on.
void fetch(const float* at, int64_t stride, int64_t rows, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r, at += stride) {
    for (int64_t c = 0; c < cols; c += 16) __builtin_prefetch(at + c, 0, 2);
  }
}

// The strip of all columns of x that comes after the one at `column`.
void fetch_next_strip(ConstRows x, int64_t row, int64_t rows, int64_t column) {
  const int64_t next = column + kStrip;
  if (next < x.cols) fetch(x.row(row) + next, x.stride, rows, smaller(kStrip, x.cols - next));
}

// strip = x, times keep where that is given; rows up to a whole tile and columns up to kStrip are zero.
void copy_strip(float* strip, ConstRows x, const float* keep) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const float* from = x.row(r);
    float* to = strip + r * kStrip;
    if (keep) {
#pragma omp simd
      for (int64_t c = 0; c < x.cols; ++c) to[c] = from[c] * keep[r * kStrip + c];
    } else {
      for (int64_t c = 0; c < x.cols; ++c) to[c] = from[c];
    }
    for (int64_t c = x.cols; c < kStrip; ++c) to[c] = 0;
  }
  for (int64_t i = x.rows * kStrip; i < round_up(x.rows, kTileRows) * kStrip; ++i) strip[i] = 0;
}

// One block of rows of one thread.
struct Block {
  alignas(64) float keep[kBlock * kStrip], strip[kBlock * kStrip];
};

ConstRows part(ConstRows x, int64_t row, int64_t rows, int64_t column) {
  return columns(slice(x, row, rows), column, smaller(kStrip, x.cols - column));
}

// narrow (rows, padded) += strip (rows, depth) times its rows of the panels; panel p begins at panels + p * panel.
void multiply_strip(float* narrow, int64_t padded, const float* strip, int64_t rows, int64_t depth, const float* panels,
                    int64_t panel) {
  for (int64_t p = 0; p < padded; p += kTileCols, panels += panel) {
    for (int64_t i = 0; i < rows; i += kTileRows) {
      write_tile<true>(narrow + i * padded + p, padded,
                       multiply(strip + i * kStrip, kStrip, 1, panels, kTileCols, depth));
    }
  }
}

// sum (cols, padded) = or += strip^T (cols, rows) narrow (rows, padded).
template <bool kAdd>
void multiply_strip_transposed(float* sum, int64_t padded, const float* strip, int64_t cols, const float* narrow,
                               int64_t rows) {
  for (int64_t c = 0; c < cols; c += kTileRows) {
    for (int64_t p = 0; p < padded; p += kTileCols) {
      write_tile<kAdd>(sum + c * padded + p, padded, multiply(strip + c, 1, kStrip, narrow + p, padded, rows));
    }
  }
}

void clear(float* x, int64_t count) {
  for (int64_t i = 0; i < count; ++i) x[i] = 0;
}

// What one thread adds up over its rows: dA^T (in, padded) and dB (out, padded), without scale.
struct Sums {
  float *a, *b;
};

struct Panels {
  const float *a, *b;
};

struct Backward {
  Rows dx;
  ConstRows dy, x, h;
  const LoraWeights& w;
  const Dropout& dropout;
  Panels panels;  // A (r, in) by columns of x; scale * B (out, r) by columns of h
  int64_t padded;

  // dh (block, padded) = scale dy B, and dB.
  template <bool kAdd>
  void below(float* dh, const float* h_block, const Sums& sums, int64_t row, int64_t rows, float* strip) const {
    const int64_t whole = round_up(rows, kTileRows);
    clear(dh, whole * padded);
    for (int64_t o = 0; o < dy.cols; o += kStrip) {
      const ConstRows from = part(dy, row, rows, o);
      copy_strip(strip, from, nullptr);
      fetch_next_strip(dy, row, rows, o);
      multiply_strip(dh, padded, strip, whole, from.cols, panels.b + o * kTileCols, dy.cols * kTileCols);
      multiply_strip_transposed<kAdd>(sums.b + o * padded, padded, strip, from.cols, h_block, rows);
    }
  }

  // dA and dx.
  template <bool kAdd>
  void above(const float* dh, const Sums& sums, int64_t row, int64_t rows, Block& block) const {
    const bool drop = dropout.rate != 0;
    for (int64_t c = 0; c < x.cols; c += kStrip) {
      const ConstRows from = part(x, row, rows, c);
      if (drop) take_strip(block.keep, row, rows, x, c, dropout);
      copy_strip(block.strip, from, drop ? block.keep : nullptr);
      fetch_next_strip(x, row, rows, c);
      if (dx.data) fetch(dx.row(row) + c, dx.stride, rows, from.cols);
      multiply_strip_transposed<kAdd>(sums.a + c * padded, padded, block.strip, from.cols, dh, rows);
      if (!dx.data) continue;
      for (int64_t p = 0; p < from.cols; p += kTileCols) {
        const float* panel = panels.a + (c + p) * w.rank;
        for (int64_t i = 0; i < rows; i += kTileRows) {
          Tile t = multiply(dh + i * padded, padded, 1, panel, kTileCols, w.rank);
          if (drop) {
            for (int64_t k = 0; k < kTileRows; ++k) {
              const float* keep = block.keep + (i + k) * kStrip + p;
              t.at[k][0] *= load(keep);
              t.at[k][1] *= load(keep + kLanes);
            }
          }
          float* to = dx.row(row + i) + c + p;
          w.beta == 0 ? write_part<false>(to, dx.stride, t, rows - i, from.cols - p)
                      : write_part<true>(to, dx.stride, t, rows - i, from.cols - p);
        }
      }
    }
  }
};

// A decoding step: no register tile is full, and packing A and B would cost as much as the products.
void few_rows_forward(Rows y, Rows h, ConstRows x, const LoraWeights& w) {
#pragma omp parallel
  {
#pragma omp for schedule(static)
    for (int64_t j = 0; j < w.rank; ++j) {
      for (int64_t r = 0; r < x.rows; ++r) h.row(r)[j] = dot(x.row(r), w.a + j * x.cols, x.cols);
    }
#pragma omp for schedule(static) nowait
    for (int64_t o = 0; o < y.cols; ++o) {
      for (int64_t r = 0; r < x.rows; ++r) {
        const float sum = w.scale * dot(h.row(r), w.b + o * w.rank, w.rank);
        y.row(r)[o] = w.beta == 0 ? sum : y.row(r)[o] + sum;
      }
    }
  }
}

}  // namespace

void lora_forward(Rows y, Rows h, ConstRows x, const LoraWeights& w, const Dropout& dropout, float* scratch) {
  const bool drop = dropout.rate != 0;
  if (few_rows(w.way, x.rows) && !drop) return few_rows_forward(y, h, x, w);
  const int64_t in = x.cols, out = y.cols, padded = round_up(w.rank, kTileCols);
  float *a_panels = scratch, *b_panels = scratch + in * padded;
#pragma omp parallel
  {
#pragma omp for schedule(static) nowait
    for (int64_t p = 0; p < w.rank; p += kTileCols)
      pack_panel_transposed(a_panels + p * in, dense(w.a, w.rank, in), p, 1);
#pragma omp for schedule(static)
    for (int64_t p = 0; p < out; p += kTileCols) {
      pack_panel_transposed(b_panels + p * w.rank, dense(w.b, out, w.rank), p, w.scale);
    }
    Block block;
    float* narrow = scratch + (in + round_up(out, kTileCols)) * padded + omp_get_thread_num() * kBlock * padded;
    const Range own = own_rows(x.rows, kTileRows);
    for (int64_t row = own.begin; row < own.end; row += kBlock) {
      const int64_t rows = smaller(kBlock, own.end - row), whole = round_up(rows, kTileRows);
      clear(narrow, whole * padded);
      if (drop) keep_mask(dropout, row, rows, in);
      for (int64_t c = 0; c < in; c += kStrip) {
        const ConstRows from = part(x, row, rows, c);
        if (drop) take_strip(block.keep, row, rows, x, c, dropout);
        copy_strip(block.strip, from, drop ? block.keep : nullptr);
        fetch_next_strip(x, row, rows, c);
        multiply_strip(narrow, padded, block.strip, whole, from.cols, a_panels + c * kTileCols, in * kTileCols);
      }
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < w.rank; ++j) h.row(row + r)[j] = narrow[r * padded + j];
      }
      fetch(y.row(row), y.stride, rows, smaller(kTileCols, out));
      for (int64_t p = 0; p < out; p += kTileCols) {
        if (p + kTileCols < out) {
          fetch(y.row(row) + p + kTileCols, y.stride, rows, smaller(kTileCols, out - p - kTileCols));
        }
        for (int64_t i = 0; i < rows; i += kTileRows) {
          const Tile t = multiply(narrow + i * padded, padded, 1, b_panels + p * w.rank, kTileCols, w.rank);
          float* to = y.row(row + i) + p;
          w.beta == 0 ? write_part<false>(to, y.stride, t, rows - i, out - p)
                      : write_part<true>(to, y.stride, t, rows - i, out - p);
        }
      }
    }
  }
}

void lora_backward(Rows dx, float* da, float* db, ConstRows dy, ConstRows x, ConstRows h, const LoraWeights& w,
                   const Dropout& dropout, float* scratch) {
  const int64_t in = x.cols, out = dy.cols, padded = round_up(w.rank, kTileCols);
  const int64_t sums_a = round_up(in, kTileRows) * padded, sums_b = round_up(out, kTileRows) * padded;
  float *a_panels = scratch, *b_panels = a_panels + w.rank * round_up(in, kTileCols);
  float* thread_sums = b_panels + out * padded;
  const int64_t sums_of_thread = sums_a + sums_b + 2 * kBlock * padded;
  const Backward pass{dx, dy, x, h, w, dropout, {a_panels, b_panels}, padded};
#pragma omp parallel
  {
#pragma omp for schedule(static) nowait
    for (int64_t p = 0; p < in; p += kTileCols) pack_panel(a_panels + p * w.rank, dense(w.a, w.rank, in), p, 1);
#pragma omp for schedule(static)
    for (int64_t p = 0; p < w.rank; p += kTileCols) pack_panel(b_panels + p * out, dense(w.b, out, w.rank), p, w.scale);

    Block block;
    float* mine = thread_sums + omp_get_thread_num() * sums_of_thread;
    const Sums sums{mine, mine + sums_a};
    float *dh = mine + sums_a + sums_b, *h_block = dh + kBlock * padded;
    const Range own = own_rows(x.rows, kTileRows);
    for (int64_t row = own.begin; row < own.end; row += kBlock) {
      const int64_t rows = smaller(kBlock, own.end - row);
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t j = 0; j < padded; ++j) h_block[r * padded + j] = j < w.rank ? h.row(row + r)[j] : 0.0f;
      }
      if (row == own.begin) {
        pass.below<false>(dh, h_block, sums, row, rows, block.strip);
        pass.above<false>(dh, sums, row, rows, block);
      } else {
        pass.below<true>(dh, h_block, sums, row, rows, block.strip);
        pass.above<true>(dh, sums, row, rows, block);
      }
    }
#pragma omp barrier
    const int64_t threads = (x.rows + rows_of_thread(x.rows, kTileRows) - 1) / rows_of_thread(x.rows, kTileRows);
    join_sums(da, db, thread_sums, thread_sums + sums_a, sums_of_thread, threads, in, out, padded, w);
  }
}

}  // namespace humanizer::HUMANIZER_ISA
