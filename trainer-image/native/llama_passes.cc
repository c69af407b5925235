// One pass over the whole model: its rows, its memory, forward and backward.
#include <algorithm>

#include "head.h"
#include "llama.h"

namespace humanizer {

namespace {

// Floats that `count` values of `width` bytes take.
int64_t floats_of(int64_t count, int64_t width) { return (count * width + 3) / 4; }

}  // namespace

Llama::Pass Llama::packed(const Batch& batch, size_t first, size_t last, const Adapter* adapter) const {
  const int64_t begin = batch.documents[first];
  Pass pass;
  pass.tokens = batch.tokens.data() + begin;
  pass.rows = batch.documents[last] - begin;
  for (size_t d = first; d < last; ++d) {
    const int64_t rows = batch.documents[d + 1] - batch.documents[d];
    pass.documents.push_back({batch.documents[d] - begin, rows});
    for (int64_t r = 0; r < rows; ++r) pass.positions.push_back(static_cast<int32_t>(r));
  }
  pass.runs.push_back({0, pass.rows, adapter});
  pass.first_of_document.push_back(0);
  for (const Document& d : pass.documents) {
    for (int64_t r = d.begin; r < d.begin + d.rows; ++r) {
      const int32_t label = batch.labels[static_cast<size_t>(begin + r)];
      if (label < 0) continue;
      pass.head_rows.push_back(static_cast<int32_t>(r));
      pass.labels.push_back(label);
    }
    pass.first_of_document.push_back(static_cast<int32_t>(pass.head_rows.size()));
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
  for (const ModuleShape& shape : shapes)
    lora = std::max(lora, backend_.lora_scratch(threads_, rows, shape.in, shape.out, rank));

  // Activations and their gradients.
  const auto take = [&](int64_t count) {
    return static_cast<float*>(arena.take_bytes(static_cast<size_t>(count * backend_.activation_bytes)));
  };

  Workspace w{};
  w.x = take(rows * hidden);
  w.normed = take(rows * std::max(hidden, a_.q_size()));
  w.activation = take(rows * ffn);
  const bool all = pass.training && checkpointing_ == Checkpointing::kNone;
  for (int64_t l = 0; l < (pass.training ? a_.layers : 1); ++l) {
    if (l > 0 && checkpointing_ == Checkpointing::kFull) {
      w.layers.push_back(w.layers.front());
      w.layers.back().x = take(rows * hidden);
      continue;
    }
    Saved s{};
    // Without a backward pass the residual stream is updated in place.
    s.x = pass.training ? take(rows * hidden) : w.x;
    s.middle = pass.training ? take(rows * hidden) : w.x;
    s.attention_input = all ? take(rows * hidden) : w.normed;
    s.mlp_input = all ? take(rows * hidden) : w.normed;
    s.activation = all ? take(rows * ffn) : w.activation;
    s.rstd_attention = arena.take(rows);
    s.qkv = take(rows * a_.qkv_size());
    s.attention = take(rows * a_.q_size());
    s.lse = arena.take(rows * a_.heads);
    s.rstd_mlp = arena.take(rows);
    s.gate_up = take(rows * 2 * ffn);
    for (size_t m = 0; m < kModules; ++m) s.h[m] = take(shapes[m].name ? rows * rank : 0);
    w.layers.push_back(s);
  }
  const int64_t decoded = std::max(a_.qkv_size(), 2 * ffn) * hidden;
  int64_t weights = backend_.bf16_matmul ? 0 : floats_of(decoded, backend_.activation_bytes);
  const int64_t few = pass.generation ? rows : kFewRows;
  for (const LayerWeights& layer : weights_.layers) {  // of a base that came in 4 bits some layers may not be
    for (size_t m = 0; m < kModules; ++m) {
      if (!shapes[m].name) continue;
      const Weight& linear = layer.linear[m];
      weights = std::max({weights, linear.few_rows_scratch(backend_, threads_, few),
                          linear.product_scratch(backend_, threads_, rows, linear.rows())});
    }
  }
  w.tiles[0] = arena.take(weights);
  w.tiles[1] =
      arena.take(backend_.tiles == 1 ? 0 : floats_of(std::max(a_.q_size(), ffn) * hidden, backend_.activation_bytes));
  w.lora = arena.take(lora);
  int64_t keys = 0, longest = 0;
  for (const Document& d : pass.documents) {
    const int64_t seen = d.rows + d.past;
    if (d.way != RowsWay::kFew) keys += seen;
    longest = std::max(longest, seen);
  }
  w.attention = arena.take(backend_.attention_scratch(threads_, static_cast<int64_t>(pass.documents.size()), keys,
                                                      longest, rows, attention_shape(), pass.training));
  w.head_x = take(heads * hidden);
  w.head_normed = take(heads * hidden);
  w.head_rstd = arena.take(heads);
  const int64_t part = std::min(heads, head_rows(backend_, a_.vocabulary));
  w.head_scratch = arena.take(std::max(
      head_loss_scratch(backend_, threads_, heads, head()),
      part * a_.vocabulary + std::max(head_block_scratch(backend_, threads_, part, head()),
                                      head().few_rows_scratch(backend_, threads_, pass.generation ? part : kFewRows))));
  w.softmax = arena.take<RowSoftmax>(part);
  w.distributions = arena.take<RowDistribution>(pass.scoring ? part : 0);
  w.nll = arena.take<double>(heads);
  const auto choices = static_cast<int64_t>(pass.choices.size());
  w.token_weights = arena.take(choices > 0 ? part * a_.vocabulary : 0);
  w.sampled = arena.take<SampledToken>(choices);
  w.choices = arena.take<TokenChoice>(choices);
  // In steps, so that an answer's growth seldom wants more memory.
  w.penalties = arena.take<Penalty>((static_cast<int64_t>(pass.penalties.size()) + 1023) / 1024 * 1024);
  for (int32_t** of_rows : {&w.tokens, &w.positions, &w.first_seen, &w.seen_until}) {
    *of_rows = arena.take<int32_t>(rows);
  }
  w.ordinals = arena.take<uint32_t>(static_cast<int64_t>(pass.ordinals.size()));
  w.offsets = arena.take<uint32_t>(static_cast<int64_t>(pass.offsets.size()));
  w.step = arena.take<uint32_t>(pass.training ? 1 : 0);
  w.head_rows = arena.take<int32_t>(heads);
  w.labels = arena.take<int32_t>(static_cast<int64_t>(pass.labels.size()));
  w.first_of_document = arena.take<int32_t>(static_cast<int64_t>(pass.first_of_document.size()));
  if (!pass.training) return w;
  w.dhead = arena.take(heads * hidden);
  w.dhead_narrow = take(narrow() ? heads * hidden : 0);
  w.dx = take(rows * hidden);
  w.dnormed = take(rows * hidden);
  w.dqkv = take(rows * a_.qkv_size());
  w.dactivation = take(rows * ffn);
  return w;
}

void Llama::prepare_positions(int64_t count) {
  if (count <= rope_positions_) return;
  const int64_t positions = std::max<int64_t>({count, 2 * rope_positions_, 256});
  std::vector<float> table(static_cast<size_t>(positions * a_.head_size));
  rope_table(table.data(), frequencies_, positions);
  rope_ = filled(*account_, table);
  rope_positions_ = positions;
}

// Memory for all of them and for `outcome_bytes`, before the first begins.
void Llama::reserve(const std::vector<Pass>& passes, size_t outcome_bytes) {
  int32_t last = 0;
  for (const Pass& pass : passes) last = std::max(last, std::ranges::max(pass.positions));
  prepare_positions(1 + last);
  for (const Pass& pass : passes) arena_.reserve([&](Arena& arena) { return plan(arena, pass); });
  if (outcome_.bytes() < outcome_bytes) {
    constexpr size_t kPage = 4096;  // of which each allocation takes whole ones
    outcome_ = Buffer();
    outcome_ = Buffer(*account_, (outcome_bytes + kPage - 1) / kPage * kPage, false);
  }
}

Llama::Workspace Llama::lay_out(const Pass& pass) {
  return arena_.lay_out([&](Arena& arena) { return plan(arena, pass); });
}

// What upload brings.
size_t Llama::input_bytes(const Pass& pass) {
  const size_t words = 4 * static_cast<size_t>(pass.rows) + pass.ordinals.size() + pass.offsets.size() +
                       pass.head_rows.size() + pass.labels.size() + pass.first_of_document.size();
  return (words + (pass.training ? 1 : 0)) * sizeof(int32_t);
}

void Llama::upload(const Pass& pass, const Workspace& w) const {
  const auto put = [&](auto* to, const auto* from, size_t count) {
    if (count > 0) backend_.memory.upload(to, from, count * sizeof *to);
  };
  const auto rows = static_cast<size_t>(pass.rows);
  std::vector<int32_t> first_seen, seen_until;
  for (const Document& d : pass.documents) {
    first_seen.insert(first_seen.end(), static_cast<size_t>(d.rows), static_cast<int32_t>(d.begin));
    seen_until.insert(seen_until.end(), static_cast<size_t>(d.rows), static_cast<int32_t>(d.begin + d.rows));
  }
  put(w.tokens, pass.tokens, rows);
  put(w.positions, pass.positions.data(), rows);
  put(w.first_seen, first_seen.data(), rows);
  put(w.seen_until, seen_until.data(), rows);
  put(w.ordinals, pass.ordinals.data(), pass.ordinals.size());
  put(w.offsets, pass.offsets.data(), pass.offsets.size());
  put(w.step, &pass.step, pass.training ? 1 : 0);
  put(w.head_rows, pass.head_rows.data(), pass.head_rows.size());
  put(w.labels, pass.labels.data(), pass.labels.size());
  put(w.first_of_document, pass.first_of_document.data(), pass.first_of_document.size());
  put(w.choices, pass.choices.data(), pass.choices.size());
  put(w.penalties, pass.penalties.data(), pass.penalties.size());
}

void Llama::forward(const Pass& pass, const Workspace& w) const {
  upload(pass, w);
  if (backend_.open_tiles) backend_.open_tiles();
  backend_.embedding(activations(pass.training ? w.layers[0].x : w.x, pass.rows, a_.hidden), weights_.embedding.held(),
                     w.tokens);
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const bool kept = pass.training && l + 1 < weights_.layers.size();
    forward_layer(l, pass, w.layers[pass.training ? l : 0], w, kept ? w.layers[l + 1].x : w.x);
  }
}

void Llama::gather_head(const Pass& pass, const Workspace& w) const {
  const auto count = static_cast<int64_t>(pass.head_rows.size());
  const Rows head_x = activations(w.head_x, count, a_.hidden);
  backend_.gather_rows(head_x, activations(w.x, pass.rows, a_.hidden), w.head_rows);
  backend_.rmsnorm_forward(activations(w.head_normed, count, a_.hidden), w.head_rstd, head_x, weights_.norm.as(),
                           a_.norm_epsilon);
}

void Llama::backward(const Pass& pass, Adapter& adapter, const Workspace& w) const {
  const auto count = static_cast<int64_t>(pass.head_rows.size());
  const Rows normed = activations(w.head_normed, count, a_.hidden);
  const Rows loss_gradient = dense(w.dhead, count, a_.hidden);
  head_loss(backend_, w.nll, loss_gradient, normed, head(), w.labels, w.softmax, w.head_scratch);
  const Rows dnormed = narrow() ? activations(w.dhead_narrow, count, a_.hidden) : loss_gradient;
  if (narrow()) backend_.copy_rows(dnormed, loss_gradient);
  // The normed rows are done with: their place takes the gradient before the norm.
  const auto zero = [&](const Rows& x) {
    backend_.memory.zero(x.data, static_cast<size_t>(x.rows * x.cols * x.width));
  };
  zero(normed);
  backend_.rmsnorm_backward(normed, dnormed, activations(w.head_x, count, a_.hidden), w.head_rstd, weights_.norm.as());
  const Rows dx = activations(w.dx, pass.rows, a_.hidden);
  zero(dx);
  backend_.scatter_rows(dx, normed, w.head_rows);
  for (size_t l = weights_.layers.size(); l-- > 0;) backward_layer(l, pass, adapter, w.layers[l], w);
}

}  // namespace humanizer
