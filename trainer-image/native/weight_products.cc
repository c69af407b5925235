// Products with the matrices of weight.h, by the operations that a backend has for them.
#include <array>

#include "weight.h"

namespace humanizer {

namespace {

// At most three are joined.
std::array<HeldMatrix, 3> held_parts(std::span<const Weight> weights) {
  std::array<HeldMatrix, 3> parts;
  for (size_t p = 0; p < weights.size(); ++p) parts[p] = weights[p].held();
  return parts;
}

}  // namespace

void Weight::multiply(const Backend& backend, Rows y, ConstRows x, int64_t begin, int64_t rows, Transpose transpose,
                      float beta, float* scratch) const {
  if (backend.bf16_matmul) {
    const HeldMatrix part = held(begin, rows);
    return backend.bf16_matmul(y, x, &part, 1, transpose, beta, scratch);
  }
  backend.matmul(y, x, decode(backend, begin, rows, scratch), transpose, 1, beta);
}

int64_t Weight::product_scratch(const Backend& backend, int threads, int64_t rows) const {
  const HeldMatrix part = held(0, rows);
  return backend.bf16_matmul ? bf16_scratch(threads, &part, 1) : (rows * cols_ * backend.activation_bytes + 3) / 4;
}

int64_t Weight::few_rows_scratch(const Backend& backend, int threads, int64_t x_rows) const {
  return threads * few_rows_tile(held()) * cols_ + (backend.few_rows_bf16 ? few_rows_bf16_scratch(x_rows, cols_) : 0);
}

void multiply_joined(const Backend& backend, Rows y, ConstRows x, std::span<const Weight> weights, Transpose transpose,
                     float beta, float* scratch) {
  const std::array parts = held_parts(weights);
  backend.bf16_matmul(y, x, parts.data(), static_cast<int64_t>(weights.size()), transpose, beta, scratch);
}

int64_t joined_scratch(int threads, std::span<const Weight> weights) {
  return bf16_scratch(threads, held_parts(weights).data(), static_cast<int64_t>(weights.size()));
}

void multiply_few_rows(const Backend& backend, Rows y, ConstRows x, std::span<const Weight> weights, float beta,
                       float* scratch) {
  const std::array parts = held_parts(weights);
  if (backend.few_rows_bf16) {
    return backend.few_rows_bf16(y, x, parts.data(), static_cast<int64_t>(weights.size()), beta, scratch);
  }
  for (int64_t p = 0, column = 0; p < static_cast<int64_t>(weights.size()); column += parts[p].rows, ++p) {
    backend.few_rows_matmul(columns(y, column, parts[p].rows), x, parts[p], beta, scratch);
  }
}

}  // namespace humanizer
