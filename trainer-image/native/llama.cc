#include "llama.h"

#include "error.h"

namespace humanizer {

Llama::Llama(const Backend& backend, std::shared_ptr<Account> account, const Architecture& architecture,
             const std::vector<TensorSource>& sources, const Quantization& quantization, int threads,
             Checkpointing checkpointing, const std::function<void(double)>& progress,
             const std::atomic<bool>& cancelled)
    : backend_(backend),
      account_(std::move(account)),
      a_(architecture),
      threads_(threads),
      checkpointing_(checkpointing),
      cancelled_(cancelled),
      arena_(*account_),
      host_account_(backend.host_memory ? *backend.host_memory : kHostMemory),
      frequencies_(rope_frequencies(a_.head_size, a_.rope_theta, a_.rope_scaling)) {
  backend_.open_stream(threads_);
  weights_ = load_weights(backend_, *account_, a_, sources, quantization, [&](double fraction) {
    if (cancelled_) throw Error(Code::kCancelled, "the model was closed while it was loading");
    progress(fraction);
  });
}

// ---------------------------------------------------------------------------------------------------------------------------------
// Linear layers. Those that read the same x are one product, whose columns are theirs side by side: q, k and v, or gate
// and up. `first` names them all.

size_t Llama::joined(Module first) const {
  if (a_.fused_projections) return 1;
  return first == kQ ? 3 : first == kGate ? 2 : 1;
}

std::span<const Weight> Llama::joined_weights(size_t layer, Module first) const {
  return {&weights_.layers[layer].linear[first], joined(first)};
}

ConstRows Llama::frozen(size_t layer, Module first, float* scratch) const {
  const Weight* linear = &weights_.layers[layer].linear[first];
  const size_t count = joined(first);
  if (count == 1) return linear->decode(backend_, 0, linear->rows(), scratch);
  int64_t rows = 0;
  for (size_t i = 0; i < count; ++i) {
    linear[i].decode_into(backend_, element(scratch, rows * linear->cols(), backend_.activation_bytes));
    rows += linear[i].rows();
  }
  return activations(scratch, rows, linear->cols());
}

// Neighbours in the order of forward and in that of backward have different ones.
int Llama::tile_of(Module first) const { return backend_.tiles > 1 && (first == kO || first == kDown) ? 1 : 0; }

// product(W), where the backend has two tiles while the next of these is decoded.
template <class Product>
void Llama::with_frozen(size_t layer, Module first, const Workspace& w, const Product& product) const {
  const int tile = tile_of(first);
  float* memory = w.tiles[static_cast<size_t>(tile)];
  if (backend_.tiles == 1) return product(frozen(layer, first, memory));
  ConstRows matrix{};
  backend_.decode_tile(tile, [&] { matrix = frozen(layer, first, memory); });
  backend_.tile_decoded(tile);
  product(matrix);
  backend_.tile_read(tile);
}

// y = beta y + x W^T. In generation with bf16 factors the pass says which rows go which way.
void Llama::linear(Rows y, ConstRows x, size_t layer, Module first, float beta, const Pass& pass,
                   const Workspace& w) const {
  const std::span<const Weight> parts = joined_weights(layer, first);
  const int64_t few = by_request(pass) ? pass.few : x.rows <= kFewRows ? x.rows : 0;
  if (few > 0) {
    multiply_few_rows(backend_, slice(y, 0, few), slice(x, 0, few), parts, beta, w.tiles[0]);
    if (few == x.rows) return;
    y = slice(y, few, x.rows - few);
    x = slice(x, few, x.rows - few);
  }
  if (!backend_.bf16_matmul) {
    return with_frozen(layer, first, w,
                       [&](ConstRows matrix) { backend_.matmul(y, x, matrix, Transpose::kNT, 1, beta); });
  }
  multiply_joined(backend_, y, x, parts, Transpose::kNT, beta, w.tiles[0]);
}

// dx = beta dx + dy W
void Llama::linear_backward(Rows dx, ConstRows dy, size_t layer, Module first, float beta, const Workspace& w) const {
  if (!backend_.bf16_matmul) {
    return with_frozen(layer, first, w,
                       [&](ConstRows matrix) { backend_.matmul(dx, dy, matrix, Transpose::kNN, 1, beta); });
  }
  multiply_joined(backend_, dx, dy, joined_weights(layer, first), Transpose::kNN, beta, w.tiles[0]);
}

Dropout Llama::dropout(size_t layer, Module module, const Pass& pass, const Adapter& adapter, const Saved& s,
                       const Workspace& w) const {
  if (!pass.training) return {};
  return {adapter.config().dropout,
          philox_key(adapter.config().seed, static_cast<int>(layer), module),
          w.step,
          w.ordinals,
          w.offsets,
          s.kept[module]};
}

// y = beta y + x W^T + bias + the update of each adapter. Where one adapter has all of y and the order is ours to
// choose LoRA comes first: only the large product, which has the time, then reads y again, and of two roundings to the
// type of activations the one of LoRA's part is of a smaller number. In generation others' adapters stand beside it.
void Llama::adapted(Rows y, ConstRows x, size_t layer, Module first, float beta, const Buffer& bias, const Pass& pass,
                    const Saved& s, const Workspace& w) const {
  const bool lora_first = !pass.generation && adapts_all(pass, first);
  if (lora_first) adapt(y, x, layer, first, beta, pass, s, w);
  linear(y, x, layer, first, lora_first ? 1 : beta, pass, w);
  if (bias.bytes() > 0) backend_.add_bias(y, bias.as());
  if (!lora_first) adapt(y, x, layer, first, 1, pass, s, w);
}

// Outside of generation a pass has one run.
bool Llama::adapts_all(const Pass& pass, Module first) const {
  const Adapter* adapter = pass.runs.front().adapter;
  bool all = adapter != nullptr;
  for (size_t m = first; m < first + joined(first); ++m) all = all && adapter->has(static_cast<Module>(m));
  return all;
}

// y = beta y + the update of each adapter, and its h is kept. In generation in f32: a prompt's parts may be few rows or
// many, by what is read beside it, and few go by f32 products.
void Llama::adapt(Rows y, ConstRows x, size_t layer, Module first, float beta, const Pass& pass, const Saved& s,
                  const Workspace& w) const {
  LoraForward* const forward =
      backend_.bf16_lora_forward && !pass.generation ? backend_.bf16_lora_forward : backend_.lora_forward;
  int64_t column = 0;
  for (size_t m = first; m < first + joined(first); ++m) {
    const auto module = static_cast<Module>(m);
    const Rows part = columns(y, column, y.cols ? weights_.layers[layer].linear[m].rows() : 0);
    column += part.cols;
    for (const Run& run : pass.runs) {
      if (!run.adapter || !run.adapter->has(module)) continue;
      LoraWeights lora = run.adapter->weights(layer, module);
      lora.way = run.way;
      lora.beta = beta;
      forward(slice(part, run.begin, run.rows), slice(activations(s.h[m], pass.rows, lora.rank), run.begin, run.rows),
              slice(x, run.begin, run.rows), lora, dropout(layer, module, pass, *run.adapter, s, w), w.lora);
    }
  }
}

// dx = dy W + the part of each adapter, or nothing where dx is empty; the adapter's gradients are added to. LoRA's part
// comes first, for the reason of `adapted`.
void Llama::adapted_backward(Rows dx, ConstRows dy, ConstRows x, size_t layer, Module first, const Pass& pass,
                             Adapter& adapter, const Saved& s, const Workspace& w) const {
  LoraBackward* const backward = backend_.bf16_lora_backward ? backend_.bf16_lora_backward : backend_.lora_backward;
  int64_t column = 0;
  float beta = 0;
  for (size_t m = first; m < first + joined(first); ++m) {
    const auto module = static_cast<Module>(m);
    const ConstRows part = columns(dy, column, weights_.layers[layer].linear[m].rows());
    column += part.cols;
    if (!adapter.has(module)) continue;
    LoraWeights lora = adapter.weights(layer, module);
    lora.beta = beta;
    backward(dx, adapter.a_gradient(layer, module), adapter.b_gradient(layer, module), part, x,
             activations(s.h[m], pass.rows, lora.rank), lora, dropout(layer, module, pass, adapter, s, w), w.lora);
    beta = 1;
  }
  if (dx.data) linear_backward(dx, dy, layer, first, beta, w);
}

// ---------------------------------------------------------------------------------------------------------------------------------
// Forward: x (T, C), in s.x, to the next layer's. Without next, all that backward reads is made again and nothing else.

void Llama::forward_layer(size_t layer, const Pass& pass, const Saved& s, const Workspace& w, float* next) const {
  if (cancelled_) throw Error(Code::kCancelled, "the operation was cancelled");
  const LayerWeights& weights = weights_.layers[layer];
  const int64_t rows = pass.rows, ffn = a_.intermediate;
  const Rows attention_input = activations(s.attention_input, rows, a_.hidden);
  const Rows qkv = activations(s.qkv, rows, a_.qkv_size());
  const ConstRows attention = activations(s.attention, rows, a_.q_size());
  const Rows middle = activations(s.middle, rows, a_.hidden), mlp_input = activations(s.mlp_input, rows, a_.hidden);
  const Rows gate_up = activations(s.gate_up, rows, 2 * ffn), activation = activations(s.activation, rows, ffn);
  const Rows out = activations(next, rows, next ? a_.hidden : 0);

  backend_.rmsnorm_forward(attention_input, s.rstd_attention, activations(s.x, rows, a_.hidden),
                           weights.attention_norm.as(), a_.norm_epsilon);
  adapted(qkv, attention_input, layer, kQ, 0, weights.qkv_bias, pass, s, w);
  attend(layer, pass, s, w);
  if (middle.data != s.x) backend_.memory.copy(middle.data, s.x, stream_bytes(pass));
  adapted(middle, attention, layer, kO, 1, weights.o_bias, pass, s, w);

  backend_.rmsnorm_forward(mlp_input, s.rstd_mlp, middle, weights.mlp_norm.as(), a_.norm_epsilon);
  adapted(gate_up, mlp_input, layer, kGate, 0, {}, pass, s, w);
  backend_.swiglu_forward(activation, gate_up);
  if (next) {
    if (out.data != middle.data) backend_.memory.copy(out.data, middle.data, stream_bytes(pass));
    adapted(out, activation, layer, kDown, 1, {}, pass, s, w);
  } else {
    adapt(out, activation, layer, kDown, 1, pass, s, w);  // no column of the output, but h
  }
}

void Llama::attend(size_t layer, const Pass& pass, const Saved& s, const Workspace& w) const {
  const Rows qkv = activations(s.qkv, pass.rows, a_.qkv_size());
  // q and k lie next to each other and turn alike.
  backend_.rope(columns(qkv, 0, a_.q_size() + a_.kv_size()), w.positions, rope_.as(), a_.head_size, false);
  const std::vector<PackedDocument> documents = packed_documents(layer, pass);
  backend_.attend(backend_, activations(s.attention, pass.rows, a_.q_size()), s.lse, attention_rows(qkv),
                  {documents.data(), static_cast<int64_t>(documents.size()), w.first_seen, w.seen_until},
                  attention_shape(), w.attention);
}

std::vector<PackedDocument> Llama::packed_documents(size_t layer, const Pass& pass) const {
  std::vector<PackedDocument> documents;
  for (const Document& d : pass.documents) {
    PackedDocument packed{d.begin, d.rows, {}, {}, 0};
    if (d.cache) {
      packed.past = d.past;
      packed.way = d.way;
      packed.keys = d.cache->keys(static_cast<int64_t>(layer), packed.past + d.rows);
      packed.values = d.cache->values(static_cast<int64_t>(layer), packed.past + d.rows);
    }
    documents.push_back(packed);
  }
  return documents;
}

AttentionRows Llama::attention_rows(ConstRows qkv) const {
  const int64_t q = a_.q_size(), kv = a_.kv_size();
  return {columns(qkv, 0, q), columns(qkv, q, kv), columns(qkv, q + kv, kv)};
}

// ---------------------------------------------------------------------------------------------------------------------------------
// Backward: w.dx holds the gradient of the layer's output on entry and of its input on return. The first layer stops at
// its first adapter: below it nothing learns.

void Llama::backward_layer(size_t layer, const Pass& pass, Adapter& adapter, const Saved& s, const Workspace& w) const {
  if (cancelled_) throw Error(Code::kCancelled, "the operation was cancelled");
  const LayerWeights& weights = weights_.layers[layer];
  const int64_t rows = pass.rows, ffn = a_.intermediate;
  const Rows dx = activations(w.dx, rows, a_.hidden), dnormed = activations(w.dnormed, rows, a_.hidden);
  const Rows attention_input = activations(s.attention_input, rows, a_.hidden),
             mlp_input = activations(s.mlp_input, rows, a_.hidden);
  const Rows activation = activations(s.activation, rows, ffn), dactivation = activations(w.dactivation, rows, ffn);
  const Rows gate_up = activations(s.gate_up, rows, 2 * ffn), dqkv = activations(w.dqkv, rows, a_.qkv_size());
  const ConstRows x = activations(s.x, rows, a_.hidden), middle = activations(s.middle, rows, a_.hidden);
  const ConstRows attention = activations(s.attention, rows, a_.q_size());
  const Rows dattention = activations(w.normed, rows, a_.q_size()), nothing = activations(nullptr, 0, 0);
  const bool replay = checkpointing_ != Checkpointing::kNone, lowest = layer == 0;
  const bool below_attention = !lowest || adapter.has(kQ) || adapter.has(kK) || adapter.has(kV);
  const bool below_mlp = below_attention || adapter.has(kO);
  const bool below_down = below_mlp || adapter.has(kGate) || adapter.has(kUp);

  if (checkpointing_ == Checkpointing::kSelective) backend_.swiglu_forward(activation, gate_up);
  // What the last layer left when it ran forward is still there.
  const bool last = layer + 1 == weights_.layers.size();
  if (full() && !last) forward_layer(layer, pass, s, w, nullptr);
  adapted_backward(below_down ? dactivation : nothing, dx, activation, layer, kDown, pass, adapter, s, w);
  if (!below_down) return;

  const Rows dgate_up = gate_up;  // the activations of this layer have been used
  backend_.swiglu_backward(dgate_up, dactivation, gate_up);
  if (replay) backend_.rmsnorm_replay(mlp_input, s.rstd_mlp, middle, weights.mlp_norm.as());
  adapted_backward(below_mlp ? dnormed : nothing, dgate_up, mlp_input, layer, kGate, pass, adapter, s, w);
  if (!below_mlp) return;
  backend_.rmsnorm_backward(dx, dnormed, middle, s.rstd_mlp, weights.mlp_norm.as());

  adapted_backward(below_attention ? dattention : nothing, dx, attention, layer, kO, pass, adapter, s, w);
  if (!below_attention) return;
  backward_attention(layer, pass, s, w);

  if (replay) backend_.rmsnorm_replay(attention_input, s.rstd_attention, x, weights.attention_norm.as());
  adapted_backward(lowest ? nothing : dnormed, dqkv, attention_input, layer, kQ, pass, adapter, s, w);
  if (!lowest) backend_.rmsnorm_backward(dx, dnormed, x, s.rstd_attention, weights.attention_norm.as());
}

// The gradient of the attention's output, in w.normed, to that of q|k|v before their rotation, in w.dqkv.
void Llama::backward_attention(size_t layer, const Pass& pass, const Saved& s, const Workspace& w) const {
  const int64_t q = a_.q_size(), kv = a_.kv_size();
  const Rows dqkv = activations(w.dqkv, pass.rows, a_.qkv_size());
  const std::vector<PackedDocument> documents = packed_documents(layer, pass);
  backend_.attend_backward(backend_, columns(dqkv, 0, q), columns(dqkv, q, kv), columns(dqkv, q + kv, kv),
                           activations(w.normed, pass.rows, q), activations(s.attention, pass.rows, q), s.lse,
                           attention_rows(activations(s.qkv, pass.rows, a_.qkv_size())),
                           {documents.data(), static_cast<int64_t>(documents.size()), w.first_seen, w.seen_until},
                           attention_shape(), w.attention);
  backend_.rope(columns(dqkv, 0, q + kv), w.positions, rope_.as(), a_.head_size, true);
}

}  // namespace humanizer
