// Passes over the whole model: a training micro-batch, an evaluation, a step of generation.
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
  for (const void* at : {arena_.data(), outcome_.as<const void>(), rope_.as<const void>()}) {
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
  if (passes.empty()) return {{0, 0}, {}};
  // The loss up to the end of each pass, and for each pass and layer whether its output is no finite number.
  const size_t outcome_bytes =
      (passes.size() + 1) * sizeof(double) + passes.size() * weights_.layers.size() * sizeof(int32_t);
  adapter.gradients();
  reserve(passes, outcome_bytes);
  try {
    return run_step(passes, adapter, outcome_bytes);
  } catch (const StepNotKept&) {
    return run_step(passes, adapter, outcome_bytes);
  }
}

StepLoss Llama::run_step(const std::vector<Pass>& passes, Adapter& adapter, size_t outcome_bytes) {
  const size_t layers = weights_.layers.size();
  auto* losses = outcome_.as<double>();
  auto* flags = reinterpret_cast<int32_t*>(losses + passes.size() + 1);
  size_t upload_bytes = 0;
  for (const Pass& pass : passes) upload_bytes += input_bytes(pass);
  const bool kept = !backend_.begin(step_key(passes, adapter), upload_bytes);
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
    backward(pass, adapter, w);
    double* loss = losses + p + 1;
    backend_.memory.copy(loss, loss - 1, sizeof *loss);
    backend_.loss_sums(loss, w.nll, w.first_of_document, 1);
    // Every policy keeps the input of each layer.
    for (size_t l = 0; l < layers; ++l) {
      const Rows output = activations(l + 1 < layers ? w.layers[l + 1].x : w.x, pass.rows, a_.hidden);
      backend_.non_finite_rows(flags + p * layers + l, output, loss);
    }
  }
  std::vector<double> outcome((outcome_bytes + sizeof(double) - 1) / sizeof(double));
  backend_.memory.download(outcome.data(), losses, outcome_bytes);
  StepLoss total{{outcome[passes.size()], 0}, {}};
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
    head_loss(backend_, w.nll, Rows{}, normed, head(), w.labels, w.softmax, w.head_scratch);
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

// The rows of all turns one after another; where the request says which way they go, those of the few first.
std::vector<int32_t> Llama::lay_turns(Pass& pass, const std::vector<Turn>& turns) const {
  std::vector<int32_t> tokens;
  const auto lay = [&](const Turn& turn, int64_t first, int64_t rows, RowsWay way) {
    const int64_t begin = static_cast<int64_t>(tokens.size()), past = turn.sequence->length() + first;
    tokens.insert(tokens.end(), turn.tokens.begin() + first, turn.tokens.begin() + first + rows);
    for (int64_t r = 0; r < rows; ++r) pass.positions.push_back(static_cast<int32_t>(past + r));
    pass.documents.push_back({begin, rows, turn.sequence.get(), past, way});
    // Neighbours on the same adapter share its products where they go the same way.
    const Adapter* adapter = turn.sequence->adapter();
    Run* last = pass.runs.empty() || pass.runs.back().adapter != adapter ? nullptr : &pass.runs.back();
    const bool few = few_rows(way, rows);
    if (last && few_rows(last->way, last->rows) == few && few_rows(way, last->rows + rows) == few) {
      last->rows += rows;
    } else {
      pass.runs.push_back({begin, rows, adapter, way});
    }
    return begin + rows - 1;
  };
  for (size_t t = 0; t < turns.size(); ++t) {
    const auto rows = static_cast<int64_t>(turns[t].tokens.size());
    const int64_t many = rows_of_many(pass, turns[t]);
    const RowsWay way = by_request(pass) ? RowsWay::kFew : RowsWay::kByCount;
    pass.head_rows.push_back(many == rows ? 0 : static_cast<int32_t>(lay(turns[t], many, rows - many, way)));
  }
  pass.few = static_cast<int64_t>(tokens.size());
  for (size_t t = 0; t < turns.size(); ++t) {
    const auto rows = static_cast<int64_t>(turns[t].tokens.size());
    const int64_t many = rows_of_many(pass, turns[t]);
    if (many == 0) continue;
    const int64_t last = lay(turns[t], 0, many, RowsWay::kMany);
    if (many == rows) pass.head_rows[t] = static_cast<int32_t>(last);
  }
  return tokens;
}

// Of a turn's rows the first so many belong to a prompt that is long enough for the way of many.
int64_t Llama::rows_of_many(const Pass& pass, const Turn& turn) const {
  const int64_t prompt = turn.sequence->prompt_tokens(), rows = static_cast<int64_t>(turn.tokens.size());
  if (!by_request(pass) || prompt < kPromptOfMany) return 0;
  return std::clamp<int64_t>(prompt - turn.sequence->length(), 0, rows);
}

// A pass of generation over the turns: their rows, and room for them.
std::vector<int32_t> Llama::begin_turns(Pass& pass, const std::vector<Turn>& turns) const {
  pass.generation = true;
  for (const Turn& turn : turns) {
    Sequence& sequence = *turn.sequence;
    const int64_t rows = static_cast<int64_t>(turn.tokens.size());
    if (sequence.length() + rows > sequence.max_tokens()) {
      throw Error(Code::kInvalidArgument, "tokens: " + std::to_string(sequence.length() + rows) +
                                              " tokens exceed the sequence's maxTokens " +
                                              std::to_string(sequence.max_tokens()));
    }
    sequence.reserve(rows);
  }
  return lay_turns(pass, turns);
}

template <typename Take>
Llama::Workspace Llama::each_logits(Pass& pass, const std::vector<int32_t>& tokens, const Take& take) {
  pass.tokens = tokens.data();
  pass.rows = static_cast<int64_t>(tokens.size());
  reserve({pass}, 0);
  const Workspace w = lay_out(pass);
  forward(pass, w);
  const auto count = static_cast<int64_t>(pass.head_rows.size());
  if (count == 0) {
    backend_.synchronize();
    return w;
  }
  gather_head(pass, w);
  const int64_t most = head_rows(backend_, a_.vocabulary);
  for (int64_t first = 0; first < count; first += most) {
    const int64_t rows = std::min(most, count - first);
    const Rows logits = dense(w.head_scratch, rows, a_.vocabulary);
    head_logits(backend_, logits, slice(activations(w.head_normed, count, a_.hidden), first, rows), head(),
                logits.row(rows));
    take(first, logits, w);
  }
  return w;
}

void Llama::generate(std::vector<Turn>& turns) {
  backend_.open_stream(threads_);
  Pass pass;
  const std::vector<int32_t> tokens = begin_turns(pass, turns);
  each_logits(pass, tokens, [&](int64_t first, const Rows& logits, const Workspace&) {
    for (int64_t r = 0; r < logits.rows; ++r) {
      std::vector<float>& of_turn = turns[static_cast<size_t>(first + r)].logits;
      of_turn.resize(static_cast<size_t>(a_.vocabulary));
      backend_.memory.download(of_turn.data(), logits.row(r), of_turn.size() * sizeof(float));
    }
  });
  for (const Turn& turn : turns) turn.sequence->advance(static_cast<int64_t>(turn.tokens.size()));
}

void Llama::sample(std::vector<Turn>& turns) {
  backend_.open_stream(threads_);
  Pass pass;
  const std::vector<int32_t> tokens = begin_turns(pass, turns);
  const std::vector<int32_t> last = std::exchange(pass.head_rows, {});
  for (size_t t = 0; t < turns.size(); ++t) {
    const Turn& turn = turns[t];
    if (!turn.choice) continue;
    pass.head_rows.push_back(last[t]);
    TokenChoice choice = *turn.choice;
    choice.first_penalty = static_cast<int32_t>(pass.penalties.size());
    pass.penalties.insert(pass.penalties.end(), turn.penalties.begin(), turn.penalties.end());
    choice.end_penalty = static_cast<int32_t>(pass.penalties.size());
    pass.choices.push_back(choice);
  }
  const Workspace w = each_logits(pass, tokens, [&](int64_t first, const Rows& logits, const Workspace& workspace) {
    backend_.sample_tokens(workspace.sampled + first, logits,
                           dense(workspace.token_weights, logits.rows, a_.vocabulary), workspace.choices + first,
                           workspace.penalties);
  });
  std::vector<SampledToken> sampled(pass.choices.size());
  if (!sampled.empty()) {
    backend_.memory.download(sampled.data(), w.sampled, sampled.size() * sizeof sampled[0]);
  }
  size_t next = 0;
  for (Turn& turn : turns) {
    if (turn.choice) turn.sampled = sampled[next++];
    turn.sequence->advance(static_cast<int64_t>(turn.tokens.size()));
  }
}

}  // namespace humanizer
