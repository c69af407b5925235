// A row-major view of memory that somebody else owns: element (r, c) is data[r * stride + c]. f32; only where a backend
// says that its activations are narrower (backend.h) an element has its width, and only that backend reads it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace humanizer {

// Of elements of `width` bytes, the one that lies `count` after the first.
template <class T>
static inline T* element(T* data, int64_t count, int64_t width) {
  return reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(data) + static_cast<uintptr_t>(count * width));
}

struct ConstRows {
  const float* data;
  int64_t rows, cols, stride;
  int64_t width = sizeof(float);
  const float* row(int64_t r) const { return data + r * stride; }
};

struct Rows {
  float* data;
  int64_t rows, cols, stride;
  int64_t width = sizeof(float);
  float* row(int64_t r) const { return data + r * stride; }
  operator ConstRows() const { return {data, rows, cols, stride, width}; }
};

static inline Rows dense(float* data, int64_t rows, int64_t cols, int64_t width = sizeof(float)) {
  return {data, rows, cols, cols, width};
}
static inline ConstRows dense(const float* data, int64_t rows, int64_t cols, int64_t width = sizeof(float)) {
  return {data, rows, cols, cols, width};
}

// Columns [begin, begin + cols) of x: how the fused q|k|v and gate|up projections are taken apart.
static inline Rows columns(Rows x, int64_t begin, int64_t cols) {
  return {element(x.data, begin, x.width), x.rows, cols, x.stride, x.width};
}
static inline ConstRows columns(ConstRows x, int64_t begin, int64_t cols) {
  return {element(x.data, begin, x.width), x.rows, cols, x.stride, x.width};
}
static inline Rows slice(Rows x, int64_t begin, int64_t rows) {
  return {element(x.data, begin * x.stride, x.width), rows, x.cols, x.stride, x.width};
}
static inline ConstRows slice(ConstRows x, int64_t begin, int64_t rows) {
  return {element(x.data, begin * x.stride, x.width), rows, x.cols, x.stride, x.width};
}

}  // namespace humanizer
