// Low-rank adapter of a frozen linear layer (Hu et al., 2021), with dropout on its own input only:
//   h = drop(x) A^T;  y = beta y + scale * h B^T  drop(x)[t,c] = keep(t,c) ? x[t,c] * kept_scale : 0
//   x (T, in)   y (T, out)   A (r, in)   B (out, r)   h (T, r) written forward, read backward
// Backward:  dB += scale dy^T h;  dh = scale dy B;  dA += dh^T drop(x);  dx = beta dx + drop'(dh A)
// keep is a pure function of (key, step, ordinal, position, column): its 16 bits of philox.h are at least the
// threshold. Backward reads it where forward kept it, else makes it again.
#pragma once

#include "few_rows.h"
#include "philox.h"
#include "tensor.h"

namespace humanizer {

struct Dropout {
  float rate;  // 0: off, and the rest is not read
  PhiloxKey key;
  const uint32_t* step;      // (1) a kept step (backend.h) reads that of its run
  const uint32_t* ordinal;   // (T) packed sequence of each row, in the effective batch
  const uint32_t* position;  // (T) position of each row in its packed sequence
  uint32_t* kept = nullptr;  // (T, mask_words(in)) bit i of a row's word g: keep(t, 32 g + i); may be null
};

static inline int64_t mask_words(int64_t in) { return (in + 31) / 32; }

// Of 65,536 values those below it drop: the rate that is applied is at most 1 / 131,072 from the asked one.
static inline uint32_t dropout_threshold(float rate) {
  const auto nearest = static_cast<uint32_t>(static_cast<double>(rate) * 65536.0 + 0.5);
  return nearest < 65535 ? nearest : 65535;
}

// What a kept value is multiplied by: 1 / (1 - the applied rate), so that the mean of a dropped value is the value.
static inline float kept_scale(float rate) { return 65536.0f / static_cast<float>(65536 - dropout_threshold(rate)); }

struct LoraWeights {
  const float *a, *b;
  int64_t rank;
  float scale;
  RowsWay way = RowsWay::kByCount;  // of x in lora_forward without dropout
  float beta = 1;                   // 1, or 0: y, or dx, is not read
};

// Floats of scratch of both directions for a stream of that many threads: A and B as panels, and each thread's own dA
// and dB. Sizes are padded to the widest register tile. It does not grow with T.
static inline int64_t lora_scratch(int threads, int64_t in, int64_t out, int64_t rank) {
  return (threads + 1) * (in + out + 112) * ((rank + 31) / 32 * 32);
}

using LoraForward = void(Rows y, Rows h, ConstRows x, const LoraWeights& w, const Dropout& dropout, float* scratch);
// dx.data null: the gradient of x is not wanted. Rows are divided among the threads in a fixed way and their sums added
// in order: the same bits for the same number of threads.
using LoraBackward = void(Rows dx, float* da, float* db, ConstRows dy, ConstRows x, ConstRows h, const LoraWeights& w,
                          const Dropout& dropout, float* scratch);

}  // namespace humanizer
