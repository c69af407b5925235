#include "head.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace humanizer {

void head_logits(const Backend& backend, Rows logits, ConstRows hidden, const Weight& w, float* scratch) {
  if ((hidden.rows <= kFewRows && hidden.width == logits.width) || backend.few_rows_bf16) {
    return multiply_few_rows(backend, logits, hidden, {&w, 1}, 0, scratch);
  }
  for (int64_t v = 0; v < w.rows(); v += kVocabularyBlock) {
    const int64_t size = std::min(kVocabularyBlock, w.rows() - v);
    w.multiply(backend, columns(logits, v, size), hidden, v, size, Transpose::kNT, 0, scratch);
  }
}

namespace {

// Rows whose logits exist at once. Parts of about one size: a short last part would decode all of W for a few rows.
int64_t head_part(const Backend& backend, int64_t rows, int64_t vocabulary) {
  const int64_t most = std::min(rows, head_rows(backend, vocabulary)), parts = (rows + most - 1) / most;
  const int64_t even = (rows + parts - 1) / parts;
  constexpr int64_t kTiles = 4 * kBf16Rows;  // as many of bf16_matmul's tiles for each of two or four threads
  return backend.bf16_matmul ? std::min(most, (even + kTiles - 1) / kTiles * kTiles) : even;
}

}  // namespace

void head_loss(const Backend& backend, double* nll, Rows dhidden, ConstRows hidden, const Weight& w,
               const int32_t* labels, RowSoftmax* softmax, float* scratch, LogitsKept kept) {
  const int64_t part = head_part(backend, hidden.rows, w.rows()), vocabulary = w.rows();
  const bool all = kept == LogitsKept::kAll;
  float *gradient = scratch + part * logits_held(kept, vocabulary), *block = gradient + part * kVocabularyBlock;
  for (int64_t r = 0; r < hidden.rows; r += part) {
    const int64_t rows = std::min(part, hidden.rows - r);
    const ConstRows here = slice(hidden, r, rows);
    const auto place = [&](int64_t v, int64_t size) {
      return all ? columns(dense(scratch, rows, vocabulary), v, size) : dense(scratch, rows, size);
    };
    const auto product = [&](const Rows& z, int64_t v) {
      w.multiply(backend, z, here, v, z.cols, Transpose::kNT, 0, block);
    };
    for (int64_t v = 0; v < vocabulary; v += kVocabularyBlock) {
      const Rows z = place(v, std::min(kVocabularyBlock, vocabulary - v));
      product(z, v);
      backend.cross_entropy_scan(softmax, z, labels + r, v);
    }
    backend.cross_entropy_loss(nll + r, softmax, rows);
    if (!dhidden.data) continue;
    for (int64_t v = 0; v < vocabulary; v += kVocabularyBlock) {
      const int64_t size = std::min(kVocabularyBlock, vocabulary - v);
      const Rows dz = dense(gradient, rows, size, backend.activation_bytes), z = place(v, size);
      if (!all) product(z, v);
      backend.cross_entropy_gradient(dz, z, softmax, labels + r, v);
      w.multiply(backend, slice(dhidden, r, rows), dz, v, size, Transpose::kNN, v == 0 ? 0.0f : 1.0f, block);
    }
  }
}

void head_likelihood(const Backend& backend, Likelihood* out, ConstRows hidden, const Weight& w, const int32_t* labels,
                     RowDistribution* rows, float* scratch) {
  const int64_t part = head_part(backend, hidden.rows, w.rows());
  std::vector<RowDistribution> scanned(static_cast<size_t>(part));
  float* block = scratch + part * (logits_held(LogitsKept::kBlock, w.rows()) + kVocabularyBlock);
  for (int64_t r = 0; r < hidden.rows; r += part) {
    const ConstRows here = slice(hidden, r, std::min(part, hidden.rows - r));
    for (int64_t v = 0; v < w.rows(); v += kVocabularyBlock) {
      const int64_t size = std::min(kVocabularyBlock, w.rows() - v);
      const Rows z = dense(scratch, here.rows, size);
      w.multiply(backend, z, here, v, size, Transpose::kNT, 0, block);
      backend.distribution_scan(rows, z, labels + r, v);
    }
    backend.memory.download(scanned.data(), rows, static_cast<size_t>(here.rows) * sizeof *rows);
    for (int64_t i = 0; i < here.rows; ++i) {
      const RowDistribution& of = scanned[static_cast<size_t>(i)];
      const double log_total = std::log(of.total), first = of.first / of.total;
      out[r + i] = {static_cast<double>(of.target) - static_cast<double>(of.maximum) - log_total, first - log_total,
                    std::max(0.0, of.second / of.total - first * first)};
    }
  }
}

}  // namespace humanizer
