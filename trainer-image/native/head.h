// The output layer: logits = hidden W^T, with W (V, C) decoded a block of the vocabulary at a time.
#pragma once

#include <cstdint>

#include "weight.h"

namespace humanizer {

inline constexpr int64_t kVocabularyBlock = 4096;  // rows of W in f32 at once

// Most rows whose logits exist at once, and at least a few so that the product is one.
inline int64_t head_rows(const Backend& backend, int64_t vocabulary) {
  const int64_t rows = backend.logits_bytes / (vocabulary * 4) / 16 * 16;
  return rows < 16 ? 16 : rows;
}

// Floats that a product with a block of W takes.
inline int64_t head_block_scratch(const Backend& backend, int threads, const Weight& w) {
  return w.product_scratch(backend, threads, kVocabularyBlock);
}

// Of a part's logits: all till their gradient has been made, or a block, and its gradient makes it again, by the
// product that made it first.
enum class LogitsKept { kAll, kBlock };

// Of a row, at once.
inline int64_t logits_held(LogitsKept kept, int64_t vocabulary) {
  return kept == LogitsKept::kAll || vocabulary < kVocabularyBlock ? vocabulary : kVocabularyBlock;
}

// Floats of head_loss's scratch for R rows: a part's logits, a block of their gradient, a block of W.
inline int64_t head_loss_scratch(const Backend& backend, int threads, int64_t rows, const Weight& w, LogitsKept kept) {
  const int64_t most = head_rows(backend, w.rows()), part = rows < most ? rows : most;
  return part * (logits_held(kept, w.rows()) + kVocabularyBlock) + head_block_scratch(backend, threads, w);
}

// scratch: head_block_scratch floats, and no less than the few_rows_scratch of w.
// logits (R, V) = hidden (R, C) W^T
void head_logits(const Backend& backend, Rows logits, ConstRows hidden, const Weight& w, float* scratch);

// Fused linear cross-entropy over labelled rows only: nll (R); dhidden (R, C) = d sum(nll) / d hidden in f32, unless
// its data is null: then a block of logits is kept. They are f32 too, whatever the activations are. softmax: for R
// rows, or head_rows when that is less.
void head_loss(const Backend& backend, double* nll, Rows dhidden, ConstRows hidden, const Weight& w,
               const int32_t* labels, RowSoftmax* softmax, float* scratch, LogitsKept kept);

// What head_loss's nll is measured against: of each labelled row log p(label), and mean and variance of log p(v) over
// the row's own p. rows and scratch as head_loss's, a block of logits being kept; out is the host's.
struct Likelihood {
  double log_probability, mean, variance;
};
void head_likelihood(const Backend& backend, Likelihood* out, ConstRows hidden, const Weight& w, const int32_t* labels,
                     RowDistribution* rows, float* scratch);

}  // namespace humanizer
