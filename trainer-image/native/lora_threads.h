// How LoRA's rows are divided among the threads of a parallel region, and what each has added up joined, in order: the
// same bits for the same number of threads. Everything here is static: each instruction path has its own.
#pragma once

#include <omp.h>

#include "lora.h"

namespace humanizer::HUMANIZER_ISA {

struct Range {
  int64_t begin, end;
};

// Rows of a thread: whole tiles, as even as those allow.
static inline int64_t rows_of_thread(int64_t rows, int64_t tile) {
  const int64_t share = (rows + omp_get_num_threads() - 1) / omp_get_num_threads();
  return (share + tile - 1) / tile * tile;
}

// Those of the calling thread.
static inline Range own_rows(int64_t rows, int64_t tile) {
  const int64_t share = rows_of_thread(rows, tile), begin = omp_get_thread_num() * share, end = begin + share;
  return {begin < rows ? begin : rows, end < rows ? end : rows};
}

// da (rank, in) += the sums of dA^T (in, padded);  db (out, rank) += scale times those of dB (out, padded). sums_a and
// sums_b are the first thread's, the next thread's lie of_thread floats behind. threads: those that had rows. By all
// threads of the region.
static inline void join_sums(float* da, float* db, const float* sums_a, const float* sums_b, int64_t of_thread,
                             int64_t threads, int64_t in, int64_t out, int64_t padded, const LoraWeights& w) {
#pragma omp for schedule(static) nowait
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t j = 0; j < w.rank; ++j) {
      float sum = 0;
      for (int64_t n = 0; n < threads; ++n) sum += sums_b[n * of_thread + o * padded + j];
      db[o * w.rank + j] += w.scale * sum;
    }
  }
  constexpr int64_t kPart = 16;  // columns of da a cache line has
#pragma omp for schedule(static)
  for (int64_t begin = 0; begin < in; begin += kPart) {
    const int64_t end = begin + kPart < in ? begin + kPart : in;
    for (int64_t j = 0; j < w.rank; ++j) {
      for (int64_t i = begin; i < end; ++i) {
        float sum = 0;
        for (int64_t n = 0; n < threads; ++n) sum += sums_a[n * of_thread + i * padded + j];
        da[j * in + i] += sum;
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
