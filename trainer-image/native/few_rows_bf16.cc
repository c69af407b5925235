// W's rows are divided among threads; the sums of each row are those of few_rows_bf16_sums.h, which stand as they fall
// until a row of y takes eight of them.
#include "few_rows_bf16.h"

#include <immintrin.h>
#include <omp.h>

#include "few_rows_bf16_sums.h"
#include "held_rows.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

namespace {

bool by_codes(const HeldMatrix& w) { return w.nf4.codes && w.nf4.block % kRun == 0 && w.cols % kRun == 0; }

constexpr int64_t kOuts = 8;  // rows of W whose sums wait for each other: a row of y then takes them in one register

// Some rows of W, and the columns of y that they are.
struct Product {
  Rows y;
  const Inputs& x;
  float beta;
  // Codes with the scale of each run, or values where codes is null.
  const uint8_t* codes;
  const float* scale;
  __m512i table;
  const Bf16* values;

  template <int kX>
  void block(int64_t row) const {
    for (int64_t begin = 0; begin < y.cols; begin += kOuts) {
      alignas(64) float sums[kOuts][kX];
      const int64_t end = begin + kOuts < y.cols ? begin + kOuts : y.cols;
      int64_t o = begin;
      if (codes) {
        for (; o < end; ++o) {
          nf4_sums<kX>(sums[o - begin], codes + o * x.cols / 2, scale + o * (x.cols / kRun), table, x, row);
        }
      }
      for (; o + 2 <= end; o += 2) bf16_sums<kX, 2>(sums[o - begin], values + o * x.cols, x, row);
      if (o < end) bf16_sums<kX, 1>(sums[o - begin], values + o * x.cols, x, row);
      put<kX>(sums[0], row, begin, end - begin);
    }
  }

  template <int kX>
  void put(const float* sums, int64_t row, int64_t column, int64_t count) const {
    if (kX == 8 && count == 8) return put_eight(sums, row, column);
    const auto mask = static_cast<__mmask8>((1 << count) - 1);
    const __m256i places = _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(kX));
    for (int r = 0; r < kX; ++r) {
      float* out = y.row(row + r) + column;
      const __m256 here = _mm256_mmask_i32gather_ps(_mm256_setzero_ps(), mask, places, sums + r, 4);
      const __m256 before = beta == 0 ? _mm256_setzero_ps() : _mm256_maskz_loadu_ps(mask, out);
      _mm256_mask_storeu_ps(out, mask, _mm256_add_ps(here, before));
    }
  }

  // The same of eight by eight, in a third of the time of eight gathers.
  void put_eight(const float* sums, int64_t row, int64_t column) const {
    __m256 x[8], t[8];
    for (int i = 0; i < 8; ++i) x[i] = _mm256_load_ps(sums + 8 * i);
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
      t[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {  // x[i + j] has column j of rows i..i+3 in its low half, 4 + j in the other
      x[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
      x[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
      x[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
      x[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
    }
    for (int j = 0; j < 4; ++j) {
      add_to(y.row(row + j) + column, _mm256_permute2f128_ps(x[j], x[4 + j], 0x20));
      add_to(y.row(row + 4 + j) + column, _mm256_permute2f128_ps(x[j], x[4 + j], 0x31));
    }
  }

  void add_to(float* out, __m256 sums) const {
    _mm256_storeu_ps(out, _mm256_add_ps(sums, beta == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(out)));
  }

  // All rows of x with these of W, which lie in the nearest cache after the first eight.
  void all_rows() const {
    int64_t row = 0;
    for (; row + 8 <= y.rows; row += 8) block<8>(row);
    for (; row + 4 <= y.rows; row += 4) block<4>(row);
    for (; row + 2 <= y.rows; row += 2) block<2>(row);
    for (; row < y.rows; ++row) block<1>(row);
  }
};

// scale[k]: that of the k-th run of W's rows from `begin` on, which begin with a block.
void run_scales(float* scale, const Nf4Tensor& t, int64_t begin, int64_t values) {
  const int64_t runs = values / kRun, runs_of_block = t.block / kRun;
  nf4_absmax(scale, t, begin / t.block, (runs + runs_of_block - 1) / runs_of_block);
  if (runs_of_block == 1) return;
  for (int64_t k = runs; k-- > 0;) scale[k] = scale[k / runs_of_block];
}

}  // namespace

void few_rows_bf16(Rows y, ConstRows x, const HeldMatrix* parts, int64_t count, float beta, float* scratch) {
  auto* inputs = reinterpret_cast<Bf16*>(aligned(scratch));
  const Inputs for_codes{inputs, x.rows, x.cols};
  const Inputs ordered{inputs + x.rows * round_up(x.cols, kChunk), x.rows, x.cols};
  float* of_threads = scratch + few_rows_bf16_scratch(x.rows, x.cols);
  bool any_codes = false, any_values = false;
  int64_t largest = 0;
  for (int64_t p = 0; p < count; ++p) {
    (by_codes(parts[p]) ? any_codes : any_values) = true;
    const int64_t tile = few_rows_tile(parts[p]);
    largest = largest > tile ? largest : tile;
  }
  if (any_codes) lay_out_for_codes(for_codes, x);
  if (any_values) lay_out_in_order(ordered, x);
#pragma omp parallel
  {
    float* own = of_threads + omp_get_thread_num() * largest * x.cols;
    for (int64_t p = 0, column = 0; p < count; column += parts[p].rows, ++p) {
      const HeldMatrix& w = parts[p];
      const bool codes = by_codes(w), stored = !w.nf4.codes && w.format == Format::kBF16;
      const int64_t tile = few_rows_tile(w);
      const __m512i table = codes ? code_table(w.nf4.code) : _mm512_setzero_si512();
#pragma omp for schedule(static) nowait
      for (int64_t begin = 0; begin < w.rows; begin += tile) {
        const int64_t rows = begin + tile < w.rows ? tile : w.rows - begin;
        Product product{
            columns(y, column + begin, rows), codes ? for_codes : ordered, beta, nullptr, own, table, nullptr};
        if (codes) {
          run_scales(own, w.nf4, begin * w.cols, rows * w.cols);
          product.codes = w.nf4.codes + begin * w.cols / 2;
        } else if (stored) {
          product.values = reinterpret_cast<const Bf16*>(w.stored) + begin * w.cols;
        } else {
          decode_rows(own, w, begin, rows);
          product.values = rounded(own, rows * w.cols);
        }
        product.all_rows();
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
