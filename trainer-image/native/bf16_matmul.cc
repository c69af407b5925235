// Two phases on all threads: W to bf16 panels of kBf16Cols columns with the pairs of a column side by side, then tiles
// of kBf16Rows x kBf16Cols of y, all of a few rows by one thread. Of a tile's factors the rows of x, rounded just
// before, lie in L1, and the panel streams from L2 or L3: 14 x 32 sums for 2 + 14 loads keep the multipliers busy.
#include "bf16_matmul.h"

#include <omp.h>

#include "bf16_tile.h"
#include "held_rows.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

constexpr int64_t kDepth = 512;  // pairs summed before y is written
constexpr int64_t kTasks = 8;    // of a thread, at least

// values = the next `count` of W in NF4, each the bf16 of its f32 value: a table of the block's sixteen, twice, since a
// look-up reads five bits of each 16.
void look_up(Bf16* values, const uint8_t* codes, int64_t count, const float* code, float absmax) {
  const __m512 scaled = _mm512_loadu_ps(code) * absmax;
  const auto table = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(scaled, scaled));
  for (int64_t i = 0; i < count; i += 32) {
    const __m128i bytes = _mm_maskz_loadu_epi8(first((count - i + 1) / 2), codes + i / 2);
    const __m512i both = _mm512_cvtepu8_epi32(bytes);  // the high nibble is the first
    const __m512i places = _mm512_or_si512(_mm512_srli_epi32(both, 4), _mm512_slli_epi32(both, 16));
    _mm512_mask_storeu_epi16(values + i, first_of_32(count - i), _mm512_permutexvar_epi16(places, table));
  }
}

// Rows [begin, begin + count) of W as bf16: W's own, or in `values`, which has room for them in f32. begin is a
// multiple of nf4_step.
const Bf16* bf16_rows(float* values, const HeldMatrix& w, int64_t begin, int64_t count) {
  const int64_t size = count * w.cols;
  if (w.nf4.codes) {
    const Nf4Tensor& t = w.nf4;
    auto* to = reinterpret_cast<Bf16*>(values);
    for (int64_t i = 0; i < size; i += t.block) {
      const int64_t at = begin * w.cols + i;
      float absmax;
      nf4_absmax(&absmax, t, at / t.block, 1);
      look_up(to + i, t.codes + at / 2, smaller(t.block, size - i), t.code, absmax);
    }
    return to;
  }
  if (w.format == Format::kBF16) return reinterpret_cast<const Bf16*>(w.stored) + begin * w.cols;
  decode_rows(values, w, begin, count);
  return rounded(values, size);
}

int64_t panels_of(int64_t cols) { return (cols + kBf16Cols - 1) / kBf16Cols; }

// One operation: how W's parts lie in panels, and x's columns in rows of pairs.
struct Product {
  Rows y;
  ConstRows x;
  const HeldMatrix* parts;
  int64_t count;
  bool by_rows;   // kNT: the parts' rows are columns of y, else of x
  int64_t pairs;  // of a row of x, and of a panel: each part's begin with a whole one
  Pair* panels;

  // A part of W whose first row is column `place` of the panels, or in pair `place` of each. values: room for what is
  // decoded at a time. By all threads of the region.
  void pack_part(const HeldMatrix& w, int64_t place, float* values) const {
    const int64_t decoded = bf16_rows_decoded(w);
#pragma omp for schedule(static) nowait
    for (int64_t begin = 0; begin < w.rows; begin += decoded) {
      const int64_t count = smaller(decoded, w.rows - begin);
      const Bf16* part = bf16_rows(values, w, begin, count);
      if (by_rows) {
        for (int64_t r = 0; r < count; r += kBf16Cols) {
          pack_transposed(panels + (place + begin + r) * pairs, part + r * w.cols, w.cols,
                          smaller(kBf16Cols, count - r), w.cols);
        }
      } else {
        for (int64_t r = 0; r < count; r += 2) {
          const Bf16* even = part + r * w.cols;
          pack_two(panels + (place + (begin + r) / 2) * kBf16Cols, pairs * kBf16Cols, even,
                   r + 1 < count ? even + w.cols : nullptr, w.cols);
        }
      }
    }
  }

  void pack(float* values) const {
    for (int64_t i = 0, place = 0; i < count; ++i) {
      pack_part(parts[i], place, values);
      place += by_rows ? round_up(parts[i].rows, kBf16Cols) : (parts[i].rows + 1) / 2;
    }
  }

  // rows (kBf16Rows, stride) = the rows of x from `row` on as pairs, zeros beyond the last.
  void pack_rows(Pair* rows, int64_t stride, int64_t row) const {
    for (int64_t r = 0; r < kBf16Rows; ++r, rows += stride) {
      if (row + r >= x.rows) {
        for (int64_t k = 0; k < stride; ++k) rows[k] = 0;
        continue;
      }
      const float* from = x.row(row + r);
      Pair* to = rows;
      for (int64_t i = 0; i < (by_rows ? 1 : count); ++i) {
        const int64_t cols = by_rows ? x.cols : parts[i].rows, of_part = (cols + 1) / 2;
        for (int64_t k = 0; k < of_part; k += 16) {
          _mm512_mask_storeu_epi32(to + k, first(of_part - k), pairs_of(from + 2 * k, cols - 2 * k));
        }
        from += cols, to += of_part;
      }
    }
  }

  // The panels [begin, end) for the rows of y from `row` on, of which `rows` has x's.
  void multiply(int64_t begin, int64_t end, const Pair* rows, int64_t stride, int64_t row, float beta) const {
    for (int64_t k = 0; k < pairs; k += kDepth) {
      int64_t panel = 0, column = 0;
      for (int64_t i = 0; i < (by_rows ? count : 1); ++i) {
        const int64_t cols = by_rows ? parts[i].rows : y.cols;
        for (int64_t c = 0; c < cols; c += kBf16Cols, ++panel) {
          if (panel < begin || panel >= end) continue;
          const Rows to =
              slice(columns(y, column + c, smaller(kBf16Cols, cols - c)), row, smaller(kBf16Rows, y.rows - row));
          fetch(to);
          multiply_tile(to, k > 0 || beta != 0, rows + k, stride, panels + (panel * pairs + k) * kBf16Cols,
                        smaller(kDepth, pairs - k));
        }
        column += cols;
      }
    }
  }

  // y's part of a tile comes near while its sums are taken.
  static void fetch(const Rows& to) {
    for (int64_t r = 0; r < to.rows; ++r) {
      __builtin_prefetch(to.row(r), 1);
      __builtin_prefetch(to.row(r) + smaller(16, to.cols - 1), 1);
    }
  }
};

}  // namespace

void bf16_matmul(Rows y, ConstRows x, const HeldMatrix* parts, int64_t count, Transpose transposed, float beta,
                 float* scratch) {
  const bool by_rows = transposed == Transpose::kNT;
  int64_t pairs = by_rows ? (x.cols + 1) / 2 : 0, panels = by_rows ? 0 : panels_of(y.cols), decoded = 0;
  for (int64_t i = 0; i < count; ++i) {
    (by_rows ? panels : pairs) += by_rows ? panels_of(parts[i].rows) : (parts[i].rows + 1) / 2;
    const int64_t values = round_up(bf16_rows_decoded(parts[i]) * parts[i].cols, 16);
    decoded = values > decoded ? values : decoded;
  }
  scratch = aligned(scratch);
  const Product product{y, x, parts, count, by_rows, pairs, pairs_at(scratch)};
  float* of_threads = scratch + panels * pairs * kBf16Cols;
  const int64_t stride = bf16_row_pairs(2 * pairs), of_thread = decoded + kBf16Rows * stride;
#pragma omp parallel
  {
    float* values = of_threads + omp_get_thread_num() * of_thread;
    Pair* rows = pairs_at(values + decoded);
    product.pack(values);
#pragma omp barrier
    // All panels for a few rows, or a part of them where that would be too few tasks to end about together.
    const int64_t blocks = (x.rows + kBf16Rows - 1) / kBf16Rows, wanted = kTasks * omp_get_num_threads();
    const int64_t groups = smaller(panels, (wanted + blocks - 1) / blocks), of_group = (panels + groups - 1) / groups;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < groups * blocks; ++task) {
      const int64_t begin = task / blocks * of_group, row = task % blocks * kBf16Rows;
      product.pack_rows(rows, stride, row);
      product.multiply(begin, begin + of_group, rows, stride, row, beta);
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
