// One pass over the whole model: its rows, its memory, forward and backward.
#include <algorithm>

#include "head.h"
#include "llama.h"

namespace humanizer {

namespace {

// Two layers' inputs are on the device at a time.
int slot_of(size_t layer) { return static_cast<int>(layer % 2); }

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
  for (const Pass& pass : passes) {
    arena_.reserve([&](Arena& arena) { plan(arena, pass); }, [&] { call_in(); });
  }
  size_t input_bytes = 0;
  for (const Pass& pass : passes) {
    if (offloaded(pass, 0)) input_bytes = std::max(input_bytes, (weights_.layers.size() - 2) * stream_bytes(pass));
  }
  if (inputs_.bytes() < input_bytes) {
    inputs_ = Buffer();
    inputs_ = Buffer(host_account_, input_bytes, false);
  }
  if (outcome_.bytes() < outcome_bytes) {
    constexpr size_t kPage = 4096;  // of which each allocation takes whole ones
    outcome_ = Buffer();
    outcome_ = Buffer(*account_, (outcome_bytes + kPage - 1) / kPage * kPage, false);
  }
}

// The step needs its memory: texts that are not finished go on in their own.
void Llama::call_in() {
  for (const std::weak_ptr<Sequence>& borrower : borrowers_) {
    if (const std::shared_ptr<Sequence> sequence = borrower.lock()) sequence->give_back();
  }
  borrowers_.clear();
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

void Llama::embed(float* x, const Pass& pass, const Workspace& w) const {
  backend_.embedding(activations(x, pass.rows, a_.hidden), weights_.embedding.held(), w.tokens);
}

void Llama::offload_input(size_t layer, const Pass& pass, const Workspace& w) const {
  const size_t bytes = stream_bytes(pass);
  backend_.offload(slot_of(layer), inputs_.as<char>() + layer * bytes, w.layers[layer].x, bytes);
}

void Llama::fetch_input(size_t layer, const Pass& pass, const Workspace& w) const {
  const size_t bytes = stream_bytes(pass);
  backend_.fetch(slot_of(layer), w.layers[layer].x, inputs_.as<char>() + layer * bytes, bytes);
}

void Llama::forward(const Pass& pass, const Workspace& w) const {
  upload(pass, w);
  if (backend_.open_tiles) backend_.open_tiles();
  embed(w.embedded, pass, w);
  for (size_t l = 0; l < weights_.layers.size(); ++l) {
    const bool kept = pass.training && l + 1 < weights_.layers.size();
    Saved s = w.layers[pass.training ? l : 0];
    if (l == 0) s.x = w.embedded;
    if (offloaded(pass, l)) offload_input(l, pass, w);
    if (l > 0 && offloaded(pass, l - 1)) backend_.copied(slot_of(l - 1));  // its place takes this layer's output
    forward_layer(l, pass, s, w, kept ? w.layers[l + 1].x : w.x);
  }
}

void Llama::gather_head(const Pass& pass, const Workspace& w) const {
  const auto count = static_cast<int64_t>(pass.head_rows.size());
  const Rows head_x = activations(w.head_x, count, a_.hidden);
  backend_.gather_rows(head_x, activations(w.x, pass.rows, a_.hidden), w.head_rows);
  backend_.rmsnorm_forward(activations(w.head_normed, count, a_.hidden), w.head_rstd, head_x, weights_.norm.as(),
                           a_.norm_epsilon);
}

// loss: becomes the sum of the losses up to this pass, of which loss[-1] is that without it; flags: of each layer
// whether its output is no finite number, where the loss is none.
void Llama::backward(const Pass& pass, Adapter& adapter, const Workspace& w, double* loss, int32_t* flags) const {
  const auto count = static_cast<int64_t>(pass.head_rows.size());
  const Rows normed = activations(w.head_normed, count, a_.hidden);
  const Rows loss_gradient = dense(w.dhead, count, a_.hidden);
  head_loss(backend_, w.nll, loss_gradient, normed, head(), w.labels, w.softmax, w.head_scratch, logits_kept());
  backend_.memory.copy(loss, loss - 1, sizeof *loss);
  backend_.loss_sums(loss, w.nll, w.first_of_document, 1);
  const auto flag_output = [&](size_t layer, float* output) {
    backend_.non_finite_rows(flags + layer, activations(output, pass.rows, a_.hidden), loss);
  };
  const size_t layers = weights_.layers.size();
  flag_output(layers - 1, w.x);
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
  if (backend_.open_tiles) backend_.open_tiles();  // where they are the head's memory was
  for (size_t l = layers; l-- > 0;) {
    if (offloaded(pass, l)) backend_.copied(slot_of(l));
    if (l > 0) flag_output(l - 1, w.layers[l].x);
    if (l == 0 && w.layers[0].x != w.embedded) embed(w.layers[0].x, pass, w);
    backward_layer(l, pass, adapter, w.layers[l], w);
    if (l >= 2 && offloaded(pass, l - 2)) fetch_input(l - 2, pass, w);
  }
}

}  // namespace humanizer
