#include "rows.h"

#include <cstring>

#include "hand_off.h"

namespace humanizer::HUMANIZER_ISA {

DecodeOp decode;
Nf4DequantizeOp nf4_dequantize;

namespace {

size_t row_bytes(const ConstRows& x) { return static_cast<size_t>(x.cols) * sizeof(float); }

}  // namespace

void embedding(Rows out, const HeldMatrix& w, const int32_t* tokens) {
  const FormatSize size = format_size(w.format);
  const int64_t bytes = w.cols / size.values * size.bytes;
#pragma omp parallel for schedule(static) if (out.rows * out.cols > kWorthThreads)
  for (int64_t r = 0; r < out.rows; ++r) {
    const uint8_t* row = w.stored + tokens[r] * bytes;
    if (w.format == Format::kF32) {
      std::memcpy(out.row(r), row, static_cast<size_t>(bytes));
    } else {
      decode(out.row(r), row, w.cols, w.format);
    }
  }
}

void gather_rows(Rows to, ConstRows from, const int32_t* indices) {
  for (int64_t r = 0; r < to.rows; ++r) std::memcpy(to.row(r), from.row(indices[r]), row_bytes(from));
}

void scatter_rows(Rows to, ConstRows from, const int32_t* indices) {
  for (int64_t r = 0; r < from.rows; ++r) std::memcpy(to.row(indices[r]), from.row(r), row_bytes(from));
}

void decode_held(Rows out, const HeldMatrix& w) {
  if (w.nf4.codes) return nf4_dequantize(out.data, w.nf4, 0, w.nf4.count);
  decode(out.data, w.stored, w.rows * w.cols, w.format);
}

void copy_rows(Rows to, ConstRows from) {
  for (int64_t r = 0; r < to.rows; ++r) std::memcpy(to.row(r), from.row(r), row_bytes(from));
}

}  // namespace humanizer::HUMANIZER_ISA
