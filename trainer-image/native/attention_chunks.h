// How backward divides a document's queries: chunks of equal area under the causal diagonal, each with a dK and dV of
// its own. By the number of queries alone, so that sums have one order. And how threads go through the chunks, whatever
// their kernels. Everything here is static: each instruction path has its own.
#pragma once

#include <omp.h>

#include <cmath>

#include "attention.h"
#include "microkernel.h"

namespace humanizer::HUMANIZER_ISA {

static inline int64_t attention_chunks(int64_t rows) {
  const int64_t wanted = (rows + 63) / 64;
  return wanted < kAttentionChunks ? wanted : kAttentionChunks;
}

// Where a chunk begins, and the one before it ends: after whole tiles of so many queries.
static inline int64_t attention_chunk_begin(int64_t rows, int64_t chunk, int64_t tile) {
  const double part = static_cast<double>(chunk) / static_cast<double>(attention_chunks(rows));
  const int64_t at = round_up(static_cast<int64_t>(static_cast<double>(rows) * std::sqrt(part)), tile);
  return at < rows ? at : rows;
}

// Backward over all spans with the kernels of the file whose Store and Block these are:
//   Store  the memory of one span and key head: its keys and values, of which pack(span, kv, head_size, store, k) lays
//          out kCols from k on, and (dK, dV) of each chunk, which grow by tiles of kSumRows keys. A head's columns are
//          padded to whole tiles of kCols too.
//   Block  what a thread has of up to kRows queries, in tiles of kTile. backward_block(span, gradients, s, h, begin,
//          rows, store, chunk, block) adds theirs of head h to dK and dV of the chunk and writes their dQ.
// A chunk's dK and dV are made, and read, up to the last key that it sees.
template <class Store, class Block>
static inline void backward_by_chunks(const AttentionSpan* spans, const AttentionGradients* gradients, int64_t count,
                                      const AttentionShape& s, float* scratch) {
  const int64_t size = round_up(s.head_size, Store::kCols), group = s.heads / s.kv_heads;
  float* stores = scratch + omp_get_max_threads() * Block::floats(size);
  const auto begin_of = [](int64_t rows, int64_t chunk) { return attention_chunk_begin(rows, chunk, Block::kTile); };
  const auto floats_of = [&](int64_t rows) {
    return Store::floats(round_up(rows, kKeyBlock), size, attention_chunks(rows));
  };
  const auto store_of = [&](float* base, int64_t rows, int64_t kv) {
    return Store{round_up(rows, kKeyBlock), size, base + kv * floats_of(rows)};
  };
#pragma omp parallel
  {
    Block block = Block::at(scratch + omp_get_thread_num() * Block::floats(size), size);
    float* base = stores;
    for (int64_t n = 0; n < count; base += s.kv_heads * floats_of(spans[n].q.rows), ++n) {
      const int64_t rows = spans[n].q.rows, panels = (rows + Store::kCols - 1) / Store::kCols;
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < s.kv_heads * panels; ++task) {
        const int64_t kv = task / panels;
        pack(spans[n], kv, s.head_size, store_of(base, rows, kv), task % panels * Store::kCols);
      }
    }
#pragma omp barrier
    base = stores;
    for (int64_t n = 0; n < count; base += s.kv_heads * floats_of(spans[n].q.rows), ++n) {
      const int64_t rows = spans[n].q.rows, chunks = attention_chunks(rows);
#pragma omp for schedule(dynamic) nowait
      for (int64_t task = 0; task < s.kv_heads * chunks; ++task) {
        const int64_t kv = task % s.kv_heads, chunk = task / s.kv_heads, end = begin_of(rows, chunk + 1);
        const Store store = store_of(base, rows, kv);
        const int64_t seen = round_up(end, Store::kSumRows) * size;
        for (int64_t i = 0; i < seen; ++i) store.dk(chunk)[i] = 0;
        for (int64_t i = 0; i < seen; ++i) store.dv(chunk)[i] = 0;
        for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
          for (int64_t begin = begin_of(rows, chunk); begin < end; begin += Block::kRows) {
            const int64_t taken = end - begin < Block::kRows ? end - begin : Block::kRows;
            backward_block(spans[n], gradients[n], s, h, begin, taken, store, chunk, block);
          }
        }
      }
    }
#pragma omp barrier
    base = stores;
    for (int64_t n = 0; n < count; base += s.kv_heads * floats_of(spans[n].q.rows), ++n) {
      const int64_t rows = spans[n].q.rows, chunks = attention_chunks(rows);
#pragma omp for schedule(static) nowait
      for (int64_t task = 0; task < rows * s.kv_heads; ++task) {
        const int64_t r = task / s.kv_heads, kv = task % s.kv_heads;
        const Store store = store_of(base, rows, kv);
        float *dk = gradients[n].dk.row(r) + kv * s.head_size, *dv = gradients[n].dv.row(r) + kv * s.head_size;
        int64_t chunk = 0;
        while (begin_of(rows, chunk + 1) <= r) ++chunk;  // the chunks before it see none of this key
        for (bool add = false; chunk < chunks; ++chunk, add = true) {
          const float *of_k = store.dk(chunk) + r * size, *of_v = store.dv(chunk) + r * size;
#pragma omp simd
          for (int64_t c = 0; c < s.head_size; ++c) {
            dk[c] = (add ? dk[c] : 0.0f) + of_k[c];
            dv[c] = (add ? dv[c] : 0.0f) + of_v[c];
          }
        }
      }
    }
  }
}

}  // namespace humanizer::HUMANIZER_ISA
