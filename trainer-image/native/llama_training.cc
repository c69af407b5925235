// A training micro-batch, and the loss and likelihood of given texts.
#include <algorithm>
#include <cmath>
#include <utility>

#include "device_error.h"
#include "head.h"
#include "llama.h"

namespace humanizer {

namespace {

// The last of the units [first, ...) that fits into a group of `tokens` with it; offsets[u] is where unit u begins.
size_t group_end(const std::vector<int32_t>& offsets, size_t first, int64_t tokens) {
  size_t last = first + 1;
  while (last + 1 < offsets.size() && offsets[last + 1] - offsets[first] <= tokens) ++last;
  return last;
}

}  // namespace

std::vector<Llama::Pass> Llama::training_passes(const Adapter& adapter, const Batch& batch, uint32_t step) const {
  std::vector<Pass> passes;
  for (size_t s = 0, next; s + 1 < batch.sequences.size(); s = next) {
    next = group_end(batch.sequences, s, backend_.group_tokens);
    const auto document_at = [&](size_t sequence) {
      return static_cast<size_t>(std::ranges::lower_bound(batch.documents, batch.sequences[sequence]) -
                                 batch.documents.begin());
    };
    Pass pass = packed(batch, document_at(s), document_at(next), &adapter);
    if (pass.head_rows.empty()) continue;  // no label: no loss and no gradient
    pass.training = true;
    pass.step = step;
    pass.first_of_document = {0, static_cast<int32_t>(pass.head_rows.size())};  // one loss for all of them
    for (size_t sequence = s; sequence < next; ++sequence) {
      const int32_t rows = batch.sequences[sequence + 1] - batch.sequences[sequence];
      for (int32_t r = 0; r < rows; ++r) {
        pass.ordinals.push_back(static_cast<uint32_t>(batch.ordinals[sequence]));
        pass.offsets.push_back(static_cast<uint32_t>(r));
      }
    }
    passes.push_back(std::move(pass));
  }
  return passes;
}

// All that the operations of these passes follow from, but for what is uploaded: what they compute with, where it lies,
// and their sizes.
std::vector<int64_t> Llama::step_key(const std::vector<Pass>& passes, Adapter& adapter) const {
  std::vector<int64_t> key{serial_, adapter.serial()};
  for (const void* at : {arena_.data(), outcome_.as<const void>(), rope_.as<const void>(), inputs_.as<const void>()}) {
    key.push_back(static_cast<int64_t>(reinterpret_cast<uintptr_t>(at)));
  }
  for (const Pass& pass : passes) {
    key.push_back(pass.rows);
    key.push_back(static_cast<int64_t>(pass.head_rows.size()));
  }
  return key;
}

StepLoss Llama::accumulate(Adapter& adapter, const Batch& batch, uint32_t step) {
  backend_.open_stream(threads_);
  const std::vector<Pass> passes = training_passes(adapter, batch, step);
  if (passes.empty()) return {{0, 0}, {}, {}};
  // The loss up to the end of each pass, and for each pass and layer whether its output is no finite number.
  const size_t outcome_bytes =
      (passes.size() + 1) * sizeof(double) + passes.size() * weights_.layers.size() * sizeof(int32_t);
  adapter.gradients();
  trained_ = true;
  reserve(passes, outcome_bytes);
  try {
    return run_step(passes, adapter, outcome_bytes);
  } catch (const StepNotKept& refusal) {
    StepLoss loss = run_step(passes, adapter, outcome_bytes);
    loss.not_kept = refusal.what();
    return loss;
  }
}

StepLoss Llama::run_step(const std::vector<Pass>& passes, Adapter& adapter, size_t outcome_bytes) {
  const size_t layers = weights_.layers.size();
  auto* losses = outcome_.as<double>();
  auto* flags = reinterpret_cast<int32_t*>(losses + passes.size() + 1);
  size_t upload_bytes = 0;
  for (const Pass& pass : passes) upload_bytes += input_bytes(pass);
  const std::vector<int64_t> key = keeps_steps_ ? step_key(passes, adapter) : std::vector<int64_t>();
  const bool kept = !backend_.begin(key, upload_bytes);
  if (!kept) backend_.memory.zero(losses, outcome_bytes);
  for (size_t p = 0; p < passes.size(); ++p) {
    const Pass& pass = passes[p];
    const Workspace w = lay_out(pass);
    if (kept) {
      upload(pass, w);
      continue;
    }
    forward(pass, w);
    gather_head(pass, w);
    backward(pass, adapter, w, losses + p + 1, flags + p * layers);
  }
  std::vector<double> outcome((outcome_bytes + sizeof(double) - 1) / sizeof(double));
  backend_.memory.download(outcome.data(), losses, outcome_bytes);
  StepLoss total{{outcome[passes.size()], 0}, {}, {}};
  for (const Pass& pass : passes) total.label_tokens += static_cast<int64_t>(pass.head_rows.size());
  const auto* found = reinterpret_cast<const int32_t*>(outcome.data() + passes.size() + 1);
  for (size_t p = 0; p < passes.size(); ++p, found += layers) {
    if (std::isfinite(outcome[p + 1])) continue;
    const auto first = static_cast<size_t>(std::find(found, found + layers, 1) - found);
    total.non_finite = first < layers ? "layer " + std::to_string(first) : "head";
    break;
  }
  return total;
}

template <typename Measure>
void Llama::each_labelled(const Adapter* adapter, const Batch& batch, bool scoring, const Measure& measure) {
  backend_.open_stream(threads_);
  const size_t documents = batch.documents.size() - 1;
  std::vector<Pass> passes;
  std::vector<size_t> first_document;  // of each pass
  for (size_t d = 0, next; d < documents; d = next) {
    next = group_end(batch.documents, d, backend_.group_tokens);
    Pass pass = packed(batch, d, next, adapter);
    if (pass.head_rows.empty()) continue;
    pass.scoring = scoring;
    passes.push_back(std::move(pass));
    first_document.push_back(d);
  }
  if (passes.empty()) return;
  const size_t sums_bytes = documents * sizeof(double);
  reserve(passes, sums_bytes);
  backend_.begin({}, 0);
  backend_.memory.zero(outcome_.as<double>(), sums_bytes);
  for (size_t p = 0; p < passes.size(); ++p) {
    const Workspace w = lay_out(passes[p]);
    forward(passes[p], w);
    gather_head(passes[p], w);
    const auto rows = static_cast<int64_t>(passes[p].labels.size());
    measure(passes[p], w, activations(w.head_normed, rows, a_.hidden), first_document[p]);
  }
}

std::vector<Loss> Llama::evaluate(const Adapter* adapter, const Batch& batch) {
  const size_t documents = batch.documents.size() - 1;
  std::vector<Loss> losses(documents, Loss{0, 0});
  bool any = false;
  each_labelled(adapter, batch, false, [&](const Pass& pass, const Workspace& w, ConstRows normed, size_t first) {
    head_loss(backend_, w.nll, Rows{}, normed, head(), w.labels, w.softmax, w.head_scratch, LogitsKept::kBlock);
    backend_.loss_sums(outcome_.as<double>() + first, w.nll, w.first_of_document,
                       static_cast<int64_t>(pass.documents.size()));
    for (size_t d = 0; d < pass.documents.size(); ++d) {
      losses[first + d].label_tokens = pass.first_of_document[d + 1] - pass.first_of_document[d];
    }
    any = true;
  });
  if (!any) return losses;
  std::vector<double> sums(documents);
  backend_.memory.download(sums.data(), outcome_.as<double>(), documents * sizeof(double));
  for (size_t d = 0; d < documents; ++d) losses[d].nll = sums[d];
  return losses;
}

std::vector<TextLikelihood> Llama::likelihoods(const Adapter* adapter, const Batch& batch) {
  std::vector<TextLikelihood> sums(batch.documents.size() - 1, TextLikelihood{});
  std::vector<Likelihood> rows;
  each_labelled(adapter, batch, true, [&](const Pass& pass, const Workspace& w, ConstRows normed, size_t first) {
    rows.resize(pass.labels.size());
    head_likelihood(backend_, rows.data(), normed, head(), w.labels, w.distributions, w.head_scratch);
    for (size_t d = 0; d < pass.documents.size(); ++d) {
      TextLikelihood& sum = sums[first + d];
      for (auto r = pass.first_of_document[d]; r < pass.first_of_document[d + 1]; ++r) {
        const Likelihood& row = rows[static_cast<size_t>(r)];
        sum.log_probability += row.log_probability;
        sum.mean += row.mean;
        sum.variance += row.variance;
        ++sum.label_tokens;
      }
    }
  });
  return sums;
}

}  // namespace humanizer
