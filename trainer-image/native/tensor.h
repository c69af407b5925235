// A row-major view of f32 memory that somebody else owns: element (r, c) is data[r * stride + c].
#pragma once

#include <cstdint>

namespace humanizer {

struct ConstRows {
  const float* data;
  int64_t rows, cols, stride;
  const float* row(int64_t r) const { return data + r * stride; }
};

struct Rows {
  float* data;
  int64_t rows, cols, stride;
  float* row(int64_t r) const { return data + r * stride; }
  operator ConstRows() const { return {data, rows, cols, stride}; }
};

static inline Rows dense(float* data, int64_t rows, int64_t cols) { return {data, rows, cols, cols}; }
static inline ConstRows dense(const float* data, int64_t rows, int64_t cols) { return {data, rows, cols, cols}; }

// Columns [begin, begin + cols) of x: how the fused q|k|v and gate|up projections are taken apart.
static inline Rows columns(Rows x, int64_t begin, int64_t cols) { return {x.data + begin, x.rows, cols, x.stride}; }
static inline ConstRows columns(ConstRows x, int64_t begin, int64_t cols) {
  return {x.data + begin, x.rows, cols, x.stride};
}
static inline Rows slice(Rows x, int64_t begin, int64_t rows) { return {x.row(begin), rows, x.cols, x.stride}; }
static inline ConstRows slice(ConstRows x, int64_t begin, int64_t rows) {
  return {x.row(begin), rows, x.cols, x.stride};
}

}  // namespace humanizer
