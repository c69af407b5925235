// Passes over the whole model: a training micro-batch, an evaluation, a step of generation.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "error.h"
#include "hand_off.h"
#include "head.h"
#include "llama.h"

namespace humanizer {

namespace {

constexpr int64_t kGroupTokens = 1024;

// The last of the units [first, ...) that fits into a group with it; offsets[u] is where unit u begins.
size_t group_end(const std::vector<int32_t>& offsets, size_t first) {
  size_t last = first + 1;
  while (last + 1 < offsets.size() && offsets[last + 1] - offsets[first] <= kGroupTokens) ++last;
  return last;
}

}  // namespace

Llama::Pass Llama::packed(const Batch& batch, size_t first, size_t last, const Adapter* adapter) const {
  const int64_t begin = batch.documents[first];
  Pass pass;
  pass.tokens = batch.tokens.data() + begin;
  pass.rows = batch.documents[last] - begin;
  for (size_t d = first; d < last; ++d) {
    const int64_t rows = batch.documents[d + 1] - batch.documents[d];
    pass.documents.push_back({batch.documents[d] - begin, rows, nullptr});
    for (int64_t r = 0; r < rows; ++r) pass.positions.push_back(static_cast<int32_t>(r));
  }
  pass.runs.push_back({0, pass.rows, adapter});
  for (int64_t r = 0; r < pass.rows; ++r) {
    if (batch.labels[static_cast<size_t>(begin + r)] >= 0) pass.head_rows.push_back(r);
  }
  return pass;
}

Llama::Workspace Llama::plan(Arena& arena, const Pass& pass) const {
  const int64_t rows = pass.rows, ffn = a_.intermediate, hidden = a_.hidden,
                heads = static_cast<int64_t>(pass.head_rows.size());
  int64_t rank = 0;
  for (const Run& run : pass.runs) rank = run.adapter ? std::max(rank, run.adapter->config().rank) : rank;
  int64_t lora = 0;
  const ModuleShapes shapes = module_shapes(a_);
  for (const ModuleShape& shape : shapes) lora = std::max(lora, lora_scratch(threads_, shape.in, shape.out, rank));

  Workspace w{};
  w.x = arena.take(rows * hidden);
  w.normed = arena.take(rows * std::max(hidden, a_.q_size()));
  w.activation = arena.take(rows * ffn);
  const bool all = pass.training && checkpointing_ == Checkpointing::kNone;
  for (int64_t l = 0; l < (pass.training ? a_.layers : 1); ++l) {
    if (l > 0 && checkpointing_ == Checkpointing::kFull) {
      w.layers.push_back(w.layers.front());
      w.layers.back().x = arena.take(rows * hidden);
      continue;
    }
    Saved s{};
    // Without a backward pass the residual stream is updated in place.
    s.x = pass.training ? arena.take(rows * hidden) : w.x;
    s.middle = pass.training ? arena.take(rows * hidden) : w.x;
    s.attention_input = all ? arena.take(rows * hidden) : w.normed;
    s.mlp_input = all ? arena.take(rows * hidden) : w.normed;
    s.activation = all ? arena.take(rows * ffn) : w.activation;
    s.rstd_attention = arena.take(rows);
    s.qkv = arena.take(rows * a_.qkv_size());
    s.attention = arena.take(rows * a_.q_size());
    s.lse = arena.take(rows * a_.heads);
    s.rstd_mlp = arena.take(rows);
    s.gate_up = arena.take(rows * 2 * ffn);
    for (size_t m = 0; m < kModules; ++m) s.h[m] = arena.take(shapes[m].name ? rows * rank : 0);
    w.layers.push_back(s);
  }
  int64_t weights = backend_.bf16_matmul ? 0 : std::max(a_.qkv_size() * hidden, 2 * ffn * hidden);
  const int64_t few = pass.generation ? rows : kFewRows;
  for (const LayerWeights& layer : weights_.layers) {  // of a base that came in 4 bits some layers may not be
    for (size_t m = 0; m < kModules; ++m) {
      if (!shapes[m].name) continue;
      const Weight& linear = layer.linear[m];
      weights = std::max({weights, linear.few_rows_scratch(backend_, threads_, few),
                          linear.product_scratch(backend_, threads_, rows, linear.rows())});
    }
  }
  w.weights = arena.take(weights);
  w.lora = arena.take(lora);
  int64_t keys = 0, longest = 0;
  for (const Document& d : pass.documents) {
    const int64_t seen = d.rows + (d.cache ? d.cache->length() : 0);
    keys += seen;
    longest = std::max(longest, seen);
  }
  w.attention = arena.take(attention_scratch(threads_, static_cast<int64_t>(pass.documents.size()), keys, longest,
                                             attention_shape(), pass.training));
  w.head_x = arena.take(heads * hidden);
  w.head_normed = arena.take(heads * hidden);
  w.head_rstd = arena.take(heads);
  const int64_t part = std::min(heads, head_rows(a_.vocabulary));
  w.head_scratch = arena.take(std::max(
      head_loss_scratch(backend_, threads_, heads, head()),
      part * a_.vocabulary + std::max(head_block_scratch(backend_, threads_, part, head()),
                                      head().few_rows_scratch(backend_, threads_, pass.generation ? part : kFewRows))));
  w.nll = arena.take<double>(heads);
  if (!pass.training) return w;
  w.dhead = arena.take(heads * hidden);
  w.dx = arena.take(rows * hidden);
  w.dnormed = arena.take(rows * hidden);
  w.dqkv = arena.take(rows * a_.qkv_size());
  w.dactivation = arena.take(rows * ffn);
  return w;
}

void Llama::prepare_positions(int64_t count) {
  if (count <= rope_positions_) return;
  const int64_t positions = std::max<int64_t>({count, 2 * rope_positions_, 256});
  Buffer table(*account_, static_cast<size_t>(positions * a_.head_size) * sizeof(float));
  rope_table(table.as(), frequencies_, positions);
  rope_ = std::move(table);
  rope_positions_ = positions;
}

void Llama::forward(const Pass& pass, const Workspace& w) const {
  float* x = pass.training ? w.layers[0].x : w.x;
#pragma omp parallel for schedule(static) if (pass.rows * a_.hidden > kWorthThreads)
  for (int64_t r = 0; r < pass.rows; ++r) {
    const ConstRows row = weights_.embedding.decode(backend_, pass.tokens[r], 1, x + r * a_.hidden);
    if (row.data != x + r * a_.hidden) std::copy(row.data, row.data + a_.hidden, x + r * a_.hidden);
  }
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const bool kept = pass.training && l + 1 < weights_.layers.size();
    forward_layer(l, pass, w.layers[pass.training ? l : 0], w, kept ? w.layers[l + 1].x : w.x);
  }
}

void Llama::gather_head(const Pass& pass, const Workspace& w) const {
  const int64_t count = static_cast<int64_t>(pass.head_rows.size());
  for (int64_t i = 0; i < count; ++i) {
    const float* row = w.x + pass.head_rows[static_cast<size_t>(i)] * a_.hidden;
    std::copy(row, row + a_.hidden, w.head_x + i * a_.hidden);
  }
  backend_.rmsnorm_forward(dense(w.head_normed, count, a_.hidden), w.head_rstd, dense(w.head_x, count, a_.hidden),
                           weights_.norm.data(), a_.norm_epsilon);
}

void Llama::backward(const Pass& pass, const int32_t* labels, Adapter& adapter, const Workspace& w) const {
  const int64_t count = static_cast<int64_t>(pass.head_rows.size());
  const ConstRows normed = dense(w.head_normed, count, a_.hidden), x = dense(w.head_x, count, a_.hidden);
  const Rows dnormed = dense(w.dhead, count, a_.hidden);
  head_loss(backend_, w.nll, dnormed, normed, head(), labels, w.head_scratch);
  // The normed rows are done with: their place takes the gradient before the norm.
  const Rows dhead = dense(w.head_normed, count, a_.hidden);
  std::memset(dhead.data, 0, static_cast<size_t>(count * a_.hidden) * sizeof(float));
  backend_.rmsnorm_backward(dhead, dnormed, x, w.head_rstd, weights_.norm.data());
  std::memset(w.dx, 0, static_cast<size_t>(pass.rows * a_.hidden) * sizeof(float));
  for (int64_t i = 0; i < count; ++i) {
    std::copy(dhead.row(i), dhead.row(i) + a_.hidden, w.dx + pass.head_rows[static_cast<size_t>(i)] * a_.hidden);
  }
  for (size_t l = weights_.layers.size(); l-- > 0;) backward_layer(l, pass, adapter, w.layers[l], w);
}

// The first whose output has a value that is no finite number: every policy keeps the input of each layer.
std::string Llama::non_finite(const Pass& pass, const Workspace& w) const {
  const int64_t bytes = pass.rows * a_.hidden * static_cast<int64_t>(sizeof(float));
  for (size_t l = 0; l < w.layers.size(); ++l) {
    const float* output = l + 1 < w.layers.size() ? w.layers[l + 1].x : w.x;
    if (!all_finite(reinterpret_cast<const uint8_t*>(output), bytes, Format::kF32)) return "layer " + std::to_string(l);
  }
  return "head";
}

StepLoss Llama::accumulate(Adapter& adapter, const Batch& batch, uint32_t step) {
  backend_.open_stream(threads_);
  StepLoss total{{0, 0}, {}};
  for (size_t s = 0, next; s + 1 < batch.sequences.size(); s = next) {
    next = group_end(batch.sequences, s);
    const auto document_at = [&](size_t sequence) {
      return static_cast<size_t>(std::ranges::lower_bound(batch.documents, batch.sequences[sequence]) -
                                 batch.documents.begin());
    };
    Pass pass = packed(batch, document_at(s), document_at(next), &adapter);
    if (pass.head_rows.empty()) continue;  // no label: no loss and no gradient
    pass.training = true;
    pass.step = step;
    for (size_t sequence = s; sequence < next; ++sequence) {
      const int32_t rows = batch.sequences[sequence + 1] - batch.sequences[sequence];
      for (int32_t r = 0; r < rows; ++r) {
        pass.ordinals.push_back(static_cast<uint32_t>(batch.ordinals[sequence]));
        pass.offsets.push_back(static_cast<uint32_t>(r));
      }
    }
    std::vector<int32_t> labels;
    for (const int64_t row : pass.head_rows)
      labels.push_back(batch.labels[static_cast<size_t>(batch.sequences[s] + row)]);
    prepare_positions(1 + std::ranges::max(pass.positions));
    const Workspace w = arena_.lay_out([&](Arena& arena) { return plan(arena, pass); });
    forward(pass, w);
    gather_head(pass, w);
    backward(pass, labels.data(), adapter, w);
    for (size_t i = 0; i < labels.size(); ++i) total.nll += w.nll[i];
    if (!std::isfinite(total.nll) && total.non_finite.empty()) total.non_finite = non_finite(pass, w);
    total.label_tokens += static_cast<int64_t>(labels.size());
  }
  return total;
}

template <typename Measure>
void Llama::each_labelled(const Adapter* adapter, const Batch& batch, const Measure& measure) {
  backend_.open_stream(threads_);
  for (size_t d = 0, next; d + 1 < batch.documents.size(); d = next) {
    next = group_end(batch.documents, d);
    const Pass pass = packed(batch, d, next, adapter);
    if (pass.head_rows.empty()) continue;
    const int32_t* labels_of_pass = batch.labels.data() + batch.documents[d];
    std::vector<int32_t> labels;
    std::vector<size_t> documents;
    size_t document = d;
    for (const int64_t row : pass.head_rows) {
      while (batch.documents[document + 1] - batch.documents[d] <= row) ++document;
      labels.push_back(labels_of_pass[row]);
      documents.push_back(document);
    }
    prepare_positions(1 + std::ranges::max(pass.positions));
    const Workspace w = arena_.lay_out([&](Arena& arena) { return plan(arena, pass); });
    forward(pass, w);
    gather_head(pass, w);
    const int64_t rows = static_cast<int64_t>(labels.size());
    measure(w, dense(static_cast<const float*>(w.head_normed), rows, a_.hidden), labels.data(), documents);
  }
}

std::vector<Loss> Llama::evaluate(const Adapter* adapter, const Batch& batch) {
  std::vector<Loss> losses(batch.documents.size() - 1, Loss{0, 0});
  each_labelled(adapter, batch,
                [&](const Workspace& w, ConstRows normed, const int32_t* labels, const auto& documents) {
                  head_loss(backend_, w.nll, Rows{}, normed, head(), labels, w.head_scratch);
                  for (size_t i = 0; i < documents.size(); ++i) {
                    losses[documents[i]].nll += w.nll[i];
                    ++losses[documents[i]].label_tokens;
                  }
                });
  return losses;
}

std::vector<TextLikelihood> Llama::likelihoods(const Adapter* adapter, const Batch& batch) {
  if (!backend_.distribution_scan) {
    throw Error(Code::kInvalidArgument, std::string("texts cannot be scored on ") + backend_.instruction_path);
  }
  std::vector<TextLikelihood> sums(batch.documents.size() - 1, TextLikelihood{});
  std::vector<Likelihood> rows;
  each_labelled(adapter, batch,
                [&](const Workspace& w, ConstRows normed, const int32_t* labels, const auto& documents) {
                  rows.resize(documents.size());
                  head_likelihood(backend_, rows.data(), normed, head(), labels, w.head_scratch);
                  for (size_t i = 0; i < documents.size(); ++i) {
                    TextLikelihood& sum = sums[documents[i]];
                    sum.log_probability += rows[i].log_probability;
                    sum.mean += rows[i].mean;
                    sum.variance += rows[i].variance;
                    ++sum.label_tokens;
                  }
                });
  return sums;
}

void Llama::generate(std::vector<Turn>& turns) {
  backend_.open_stream(threads_);
  Pass pass;
  pass.generation = true;
  std::vector<int32_t> tokens;
  for (Turn& turn : turns) {
    Sequence& sequence = *turn.sequence;
    const int64_t rows = static_cast<int64_t>(turn.tokens.size());
    if (sequence.length() + rows > sequence.max_tokens()) {
      throw Error(Code::kInvalidArgument, "tokens: " + std::to_string(sequence.length() + rows) +
                                              " tokens exceed the sequence's maxTokens " +
                                              std::to_string(sequence.max_tokens()));
    }
    sequence.reserve(rows);
    const int64_t begin = static_cast<int64_t>(tokens.size());
    tokens.insert(tokens.end(), turn.tokens.begin(), turn.tokens.end());
    for (int64_t r = 0; r < rows; ++r) pass.positions.push_back(static_cast<int32_t>(sequence.length() + r));
    pass.documents.push_back({begin, rows, &sequence});
    pass.head_rows.push_back(begin + rows - 1);
    // Neighbours on the same adapter share its products, which lora.h takes another way where rows are few: each
    // sequence goes the way it goes alone.
    const auto few = [](int64_t count) { return count <= kFewRows; };
    if (!pass.runs.empty() && pass.runs.back().adapter == sequence.adapter() &&
        few(pass.runs.back().rows) == few(rows) && few(pass.runs.back().rows + rows) == few(rows)) {
      pass.runs.back().rows += rows;
    } else {
      pass.runs.push_back({begin, rows, sequence.adapter()});
    }
  }
  pass.tokens = tokens.data();
  pass.rows = static_cast<int64_t>(tokens.size());
  prepare_positions(1 + std::ranges::max(pass.positions));
  const Workspace w = arena_.lay_out([&](Arena& arena) { return plan(arena, pass); });
  forward(pass, w);
  gather_head(pass, w);
  const int64_t most = head_rows(a_.vocabulary), count = static_cast<int64_t>(turns.size());
  for (int64_t first = 0; first < count; first += most) {
    const int64_t rows = std::min(most, count - first);
    const Rows logits = dense(w.head_scratch, rows, a_.vocabulary);
    head_logits(backend_, logits, slice(dense(w.head_normed, count, a_.hidden), first, rows), head(), logits.row(rows));
    for (int64_t r = 0; r < rows; ++r) {
      turns[static_cast<size_t>(first + r)].logits.assign(logits.row(r), logits.row(r) + a_.vocabulary);
    }
  }
  for (const Turn& turn : turns) turn.sequence->advance(static_cast<int64_t>(turn.tokens.size()));
}

}  // namespace humanizer
