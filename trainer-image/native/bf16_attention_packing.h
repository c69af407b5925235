// How bf16_attention.cc and bf16_attention_backward.cc lay out their factors. Everything here is static: of the path
// that has the instructions.
#pragma once

#include <cmath>

#include "bf16_attention.h"
#include "bf16_tile.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

static inline ConstRows head(ConstRows x, int64_t h, int64_t size) { return columns(x, h * size, size); }

static inline float scale_of(const AttentionShape& s) { return 1.0f / std::sqrt(static_cast<float>(s.head_size)); }

// rows (x.rows, stride pairs) = x by pairs of columns; rows up to a whole tile are zero.
static inline void pack_rows(Pair* rows, int64_t stride, ConstRows x) {
  for (int64_t r = 0; r < round_up(x.rows, kBf16Rows); ++r, rows += stride) {
    for (int64_t k = 0; k < stride; k += 16) {
      _mm512_storeu_si512(rows + k, r < x.rows ? pairs_of(x.row(r) + 2 * k, x.cols - 2 * k) : _mm512_setzero_si512());
    }
  }
}

// Rows [row, row + count) of x by pairs of rows: panel p of columns begins at panels + p * panel.
static inline void pack_row_pairs(Pair* panels, int64_t panel, ConstRows x, int64_t row, int64_t count) {
  for (int64_t r = row; r < row + count; r += 2) {
    pack_two(panels + r / 2 * kBf16Cols, panel, x.row(r), r + 1 < x.rows ? x.row(r + 1) : nullptr, x.cols);
  }
}

// Panel of x^T for the rows from `row` on.
static inline void pack_panel_of_rows(Pair* panel, ConstRows x, int64_t row) {
  pack_transposed(panel, x.row(row), x.stride, smaller(kBf16Cols, x.rows - row), x.cols);
}

}  // namespace humanizer::HUMANIZER_ISA
