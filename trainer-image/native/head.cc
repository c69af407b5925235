#include "head.h"

#include <algorithm>

namespace humanizer {

void head_logits(const Backend& backend, Rows logits, ConstRows hidden, const Weight& w, float* scratch) {
  if (hidden.rows <= kFewRows) return backend.few_rows_matmul(logits, hidden, w.held(), 0, scratch);
  for (int64_t v = 0; v < w.rows(); v += kVocabularyBlock) {
    const int64_t size = std::min(kVocabularyBlock, w.rows() - v);
    matmul(columns(logits, v, size), hidden, w.decode(backend, v, size, scratch), Transpose::kNT, 1, 0);
  }
}

void head_loss(const Backend& backend, double* nll, Rows dhidden, ConstRows hidden, const Weight& w,
               const int32_t* labels, float* scratch) {
  // Parts of one size: a short last part would decode all of W for a few rows.
  const int64_t most = std::min(hidden.rows, head_rows(w.rows())), parts = (hidden.rows + most - 1) / most;
  const int64_t part = (hidden.rows + parts - 1) / parts;
  float* block = scratch + part * w.rows();
  for (int64_t r = 0; r < hidden.rows; r += part) {
    const int64_t rows = std::min(part, hidden.rows - r);
    const Rows logits = dense(scratch, rows, w.rows());
    head_logits(backend, logits, slice(hidden, r, rows), w, block);
    backend.cross_entropy(nll + r, logits, labels + r, dhidden.data != nullptr);
    if (!dhidden.data) continue;
    for (int64_t v = 0; v < w.rows(); v += kVocabularyBlock) {
      const int64_t size = std::min(kVocabularyBlock, w.rows() - v);
      matmul(slice(dhidden, r, rows), columns(logits, v, size), w.decode(backend, v, size, block), Transpose::kNN, 1,
             v == 0 ? 0.0f : 1.0f);
    }
  }
}

}  // namespace humanizer
