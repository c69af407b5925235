// Low-rank adapter of a frozen linear layer (Hu et al., 2021), with dropout on its own input only:
//   h = drop(x) A^T;  y += scale * h B^T          drop(x)[t,c] = keep(t,c) ? x[t,c] / (1 - rate) : 0
//   x (T, in)   y (T, out)   A (r, in)   B (out, r)   h (T, r) written forward, read backward
// Backward adds:  dB += scale dy^T h;  dh = scale dy B;  dA += dh^T drop(x);  dx += drop'(dh A)
// keep is a pure function of (key, step, ordinal, position, column): philox.h. Forward leaves it in a bit per element,
// which is quicker to read again here than to make again; a device may make it again.
#pragma once

#include "philox.h"
#include "tensor.h"

namespace humanizer {

struct Dropout {
  float rate;  // 0: off, and the rest is not read
  PhiloxKey key;
  uint32_t step;
  const uint32_t* ordinal;   // (T) packed sequence of each row, in the effective batch
  const uint32_t* position;  // (T) position of each row in its packed sequence
};

// Words of mask for T rows of an input: bit c % 32 of word c / 32 of a row is keep(t, c).
static inline int64_t mask_words(int64_t rows, int64_t in) { return rows * ((in + 31) / 32); }

struct LoraWeights {
  const float *a, *b;
  int64_t rank;
  float scale;
};

// mask: written when the rate is not 0. scratch: T * in floats.
using LoraForward = void(Rows y, Rows h, uint32_t* mask, ConstRows x, const LoraWeights& w, const Dropout& dropout,
                         float* scratch);
// dx.data null: the gradient of x is not wanted. mask: forward's. scratch: T * (in + rank) floats.
using LoraBackward = void(Rows dx, float* da, float* db, ConstRows dy, ConstRows x, ConstRows h, const uint32_t* mask,
                          const LoraWeights& w, const Dropout& dropout, float* scratch);

}  // namespace humanizer
