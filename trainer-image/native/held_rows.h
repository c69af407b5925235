// Rows of a weight as f32, on the calling thread alone: for products that decode W a tile at a time in a parallel
// region. Static: each instruction path has its own.
#pragma once

#include "few_rows.h"

namespace humanizer::HUMANIZER_ISA {

DecodeOp decode_tile;
Nf4DequantizeOp nf4_dequantize_tile;
// out[0..count) = absmax of the blocks from `first` on.
using Nf4AbsmaxOp = void(float* out, const Nf4Tensor& tensor, int64_t first, int64_t count);
Nf4AbsmaxOp nf4_absmax;

// values = W[begin .. begin + rows). begin is a multiple of nf4_step.
static inline void decode_rows(float* values, const HeldMatrix& w, int64_t begin, int64_t rows) {
  if (w.nf4.codes) return nf4_dequantize_tile(values, w.nf4, begin * w.cols, rows * w.cols);
  const FormatSize size = format_size(w.format);
  decode_tile(values, w.stored + begin * w.cols / size.values * size.bytes, rows * w.cols, w.format);
}

}  // namespace humanizer::HUMANIZER_ISA
