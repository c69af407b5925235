// A Llama with LoRA adapters: the operations in order, forward and backward. Configurations of it: Llama 2 and 3,
// SmolLM2, Mistral, Qwen2 (biases of q, k and v), Phi-3 (fused projections).
//
//   x = embedding[token]
//   each layer:  x += o(attention(rope(q(n)), rope(k(n)), v(n))), n = rmsnorm(x);   x += down(swiglu(gate(n), up(n))),
//   n = rmsnorm(x) logits = head(rmsnorm(x))
//
// What waits for backward is the caller's choice, Checkpointing. Dropped inputs are always made again (lora.h).
// Gradients stop at the first adapter.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "head.h"
#include "llama_weights.h"
#include "sequence.h"
#include "serial.h"

namespace humanizer {

// A packed micro-batch; index.ts says what the fields mean and has checked them.
struct Batch {
  std::vector<int32_t> tokens, labels, documents, sequences, ordinals;
};

// Which activations of a training pass wait for its backward pass, per token and layer; the others are made again from
// them, by the operations that made them first: loss and gradients are the same bits.
//   kNone       all that backward reads: beside those of kSelective the outputs of both norms and of SwiGLU
//   kSelective  x, q|k|v, attention, x between the halves, gate|up, LoRA's h, a bit for each value that dropout
//               decided on and three scalars a head or less
//   kFull       x, the layer's input, but for the first's: backward runs the layer forward again
//   kOffload    as kFull; the inputs of all layers but the last two wait in the host's memory where that is another
enum class Checkpointing { kNone, kSelective, kFull, kOffload };

struct Loss {
  double nll;
  int64_t label_tokens;
};

struct TextLikelihood : Likelihood {
  int64_t label_tokens;
};

struct StepLoss : Loss {
  std::string non_finite;  // where activations were no finite numbers first: "layer 3", "head"; else empty
  std::string not_kept;    // why the device could not keep the step to run it again (Backend::begin); else empty
};

struct Turn {
  std::shared_ptr<Sequence> sequence;
  std::vector<int32_t> tokens;
  std::vector<float> logits;  // (vocabulary) after the last token, by generate
  // What sample chooses after the last token: nothing where there is no choice.
  std::optional<TokenChoice> choice = std::nullopt;
  std::vector<Penalty> penalties = {};
  SampledToken sampled = {};
};

// A prompt of at least so many tokens is read by bf16_matmul, in whatever parts: a little slower than few_rows_bf16 for
// one of these alone, much faster for several of them and for longer ones.
inline constexpr int64_t kPromptOfMany = 32;

class Llama {
 public:
  Llama(const Backend& backend, std::shared_ptr<Account> account, const Architecture& architecture,
        const std::vector<TensorSource>& sources, const Quantization& quantization, int threads,
        Checkpointing checkpointing, const std::function<void(double)>& progress, const std::atomic<bool>& cancelled);

  const Architecture& architecture() const { return a_; }
  const Backend& backend() const { return backend_; }
  const std::shared_ptr<Account>& account() const { return account_; }

  // Adds the gradients of the sum of the negative log-likelihood. Works through the packed sequences about
  // Backend::group_tokens at a time, so that memory follows the longest sequence and not the batch. The host waits
  // once, at the end.
  StepLoss accumulate(Adapter& adapter, const Batch& batch, uint32_t step);
  // Whether the device may keep steps to run them again (Backend::begin), which takes of its memory. It may till told.
  void keep_steps(bool may) { keeps_steps_ = may; }
  // One loss per document; dropout off.
  std::vector<Loss> evaluate(const Adapter* adapter, const Batch& batch);
  // Of each document the sums over its labels of what head.h says of a row; dropout off.
  std::vector<TextLikelihood> likelihoods(const Adapter* adapter, const Batch& batch);
  void generate(std::vector<Turn>& turns);
  // The same, of whose logits nothing leaves the device but what becomes of them.
  void sample(std::vector<Turn>& turns);

 private:
  struct Document {
    int64_t begin, rows;
    const Sequence* cache = nullptr;  // outside generation
    int64_t past = 0;                 // tokens of the cache that stand before these rows
    RowsWay way = RowsWay::kByCount;
  };
  struct Run {  // rows that carry the same adapter
    int64_t begin, rows;
    const Adapter* adapter;
    RowsWay way = RowsWay::kByCount;
  };
  struct Pass {
    const int32_t* tokens;
    int64_t rows = 0;
    int64_t few = 0;  // generation with bf16 factors: the rows before this one go the way of few, the rest that of many
    std::vector<int32_t> positions;  // of each row in its document
    std::vector<Document> documents;
    std::vector<Run> runs;
    std::vector<int32_t> head_rows, labels;   // rows whose logits matter; not in generation: their labels
    std::vector<int32_t> first_of_document;   // of head_rows, where each document's begin, and their end
    std::vector<uint32_t> ordinals, offsets;  // dropout's coordinates of each row; empty when it is off
    uint32_t step = 0;
    std::vector<TokenChoice> choices;  // of head_rows, when tokens are sampled
    std::vector<Penalty> penalties;
    bool training = false, generation = false, scoring = false;
  };
  struct Saved {
    float *x, *rstd_attention, *qkv, *attention, *lse, *middle, *rstd_mlp, *gate_up;
    float *attention_input, *mlp_input, *activation;  // the workspace's, unless each layer keeps its own
    std::array<float*, kModules> h;
    std::array<uint32_t*, kModules> kept;  // Dropout::kept; null under kFull, where backward draws again
  };
  // In the backend's memory. Activations, their gradients and h have its type; the rest is f32 where nothing else is
  // said.
  struct Workspace {
    std::vector<Saved> layers;  // one for each layer in training (kFull: alike but for x), else one that all use
    float *x, *embedded, *normed, *activation, *lora, *attention;
    std::array<float*, 2> tiles;  // of frozen matrices, by tile_of; the first is scratch of every product
    float *head_x, *head_normed, *head_rstd, *head_scratch, *dhead /* f32 */, *dhead_narrow;
    float *dx, *dnormed, *dqkv, *dactivation;  // training only; llama_plan.cc says which share their memory
    RowSoftmax* softmax;
    RowDistribution* distributions;  // scoring only
    double* nll;
    float* token_weights;  // sampling only, and the next three
    SampledToken* sampled;
    TokenChoice* choices;
    Penalty* penalties;
    // What the host says of the pass: by row, then of the rows whose logits matter, and where each document's begin.
    int32_t *tokens, *positions, *first_seen, *seen_until;
    uint32_t *ordinals, *offsets, *step;
    int32_t *head_rows, *labels, *first_of_document;
  };

  // llama_training.cc: a micro-batch, and the labels of given texts
  std::vector<Pass> training_passes(const Adapter& adapter, const Batch& batch, uint32_t step) const;
  std::vector<int64_t> step_key(const std::vector<Pass>& passes, Adapter& adapter) const;
  StepLoss run_step(const std::vector<Pass>& passes, Adapter& adapter, size_t outcome_bytes);
  // Calls measure(pass, workspace, normed rows of the head, the pass's first document) for each group of documents with
  // a label. outcome_ then has room for a zeroed double each.
  template <typename Measure>
  void each_labelled(const Adapter* adapter, const Batch& batch, bool scoring, const Measure& measure);

  // llama_generation.cc: tokens of several requests
  std::vector<int32_t> begin_turns(Pass& pass, const std::vector<Turn>& turns);
  void make_room(const std::shared_ptr<Sequence>& sequence, int64_t tokens);
  std::vector<int32_t> lay_turns(Pass& pass, const std::vector<Turn>& turns) const;
  int64_t rows_of_many(const Pass& pass, const Turn& turn) const;
  // Calls take(first of the pass's head rows, logits of some from there, workspace) until it has had all.
  template <typename Take>
  Workspace each_logits(Pass& pass, const std::vector<int32_t>& tokens, const Take& take);

  // llama_passes.cc: one pass over the whole model
  Pass packed(const Batch& batch, size_t first_document, size_t last_document, const Adapter* adapter) const;
  void reserve(const std::vector<Pass>& passes, size_t outcome_bytes);
  void call_in();
  Workspace lay_out(const Pass& pass);
  void prepare_positions(int64_t count);
  static size_t input_bytes(const Pass& pass);
  void upload(const Pass& pass, const Workspace& w) const;
  void embed(float* x, const Pass& pass, const Workspace& w) const;
  void offload_input(size_t layer, const Pass& pass, const Workspace& w) const;
  void fetch_input(size_t layer, const Pass& pass, const Workspace& w) const;
  size_t stream_bytes(const Pass& pass) const {  // of one layer's input
    return static_cast<size_t>(pass.rows * a_.hidden * backend_.activation_bytes);
  }
  void forward(const Pass& pass, const Workspace& w) const;
  void gather_head(const Pass& pass, const Workspace& w) const;
  void backward(const Pass& pass, Adapter& adapter, const Workspace& w, double* loss, int32_t* flags) const;

  // llama_plan.cc: its memory
  Workspace plan(Arena& arena, const Pass& pass) const;
  void plan_layers(Arena& arena, const Pass& pass, Workspace& w) const;
  void plan_products(Arena& arena, const Pass& pass, Workspace& w) const;
  void plan_head(Arena& arena, const Pass& pass, Workspace& w) const;
  void plan_input(Arena& arena, const Pass& pass, Workspace& w) const;
  float* take(Arena& arena, int64_t count) const;  // activations
  static int64_t rank_of(const Pass& pass);
  bool keeps_mask(const Pass& pass, Module module) const;
  LogitsKept logits_kept() const;
  bool full() const { return checkpointing_ == Checkpointing::kFull || checkpointing_ == Checkpointing::kOffload; }
  // The layer's input goes to the host when it is made, and comes back while the next layer but one runs backward.
  bool offloaded(const Pass& pass, size_t layer) const {
    return pass.training && checkpointing_ == Checkpointing::kOffload && backend_.offload &&
           layer + 2 < weights_.layers.size();
  }

  // llama.cc: one layer
  void forward_layer(size_t layer, const Pass& pass, const Saved& s, const Workspace& w, float* x) const;
  void attend(size_t layer, const Pass& pass, const Saved& s, const Workspace& w) const;
  void backward_layer(size_t layer, const Pass& pass, Adapter& adapter, const Saved& s, const Workspace& w) const;
  void backward_attention(size_t layer, const Pass& pass, const Saved& s, const Workspace& w) const;
  std::vector<PackedDocument> packed_documents(size_t layer, const Pass& pass) const;
  AttentionRows attention_rows(ConstRows qkv) const;
  size_t joined(Module first) const;
  std::span<const Weight> joined_weights(size_t layer, Module first) const;
  ConstRows frozen(size_t layer, Module first, float* scratch) const;
  int tile_of(Module first) const;
  template <class Product>
  void with_frozen(size_t layer, Module first, const Workspace& w, const Product& product) const;
  void linear(Rows y, ConstRows x, size_t layer, Module first, float beta, const Pass& pass, const Workspace& w) const;
  void linear_backward(Rows dx, ConstRows dy, size_t layer, Module first, float beta, const Workspace& w) const;
  Dropout dropout(size_t layer, Module module, const Pass& pass, const Adapter& adapter, const Saved& s,
                  const Workspace& w) const;
  void adapted(Rows y, ConstRows x, size_t layer, Module first, float beta, const Buffer& bias, const Pass& pass,
               const Saved& s, const Workspace& w) const;
  bool adapts_all(const Pass& pass, Module first) const;
  void adapt(Rows y, ConstRows x, size_t layer, Module first, float beta, const Pass& pass, const Saved& s,
             const Workspace& w) const;
  void adapted_backward(Rows dx, ConstRows dy, ConstRows x, size_t layer, Module first, const Pass& pass,
                        Adapter& adapter, const Saved& s, const Workspace& w) const;

  Rows activations(float* data, int64_t rows, int64_t cols) const {
    return dense(data, rows, cols, backend_.activation_bytes);
  }
  // Activations are narrower than the f32 of losses and their first gradient.
  bool narrow() const { return backend_.activation_bytes < static_cast<int64_t>(sizeof(float)); }
  // Which way a row goes follows from its own request: otherwise those beside it could change its words.
  bool by_request(const Pass& pass) const { return pass.generation && backend_.few_rows_bf16; }
  const Weight& head() const { return a_.tied_embeddings ? weights_.embedding : weights_.head; }
  AttentionShape attention_shape() const { return {a_.heads, a_.kv_heads, a_.head_size}; }

  const Backend& backend_;
  std::shared_ptr<Account> account_;
  Architecture a_;
  int threads_;
  Checkpointing checkpointing_;
  const std::atomic<bool>& cancelled_;
  LlamaWeights weights_;
  Arena arena_;
  bool trained_ = false;
  std::vector<std::weak_ptr<Sequence>> borrowers_;  // of the arena's memory
  Buffer outcome_;                                  // what a call leaves for the host: losses and flags
  Account host_account_;
  Buffer inputs_;  // kOffload: those of a pass, by layer
  std::vector<float> frequencies_;
  Buffer rope_;
  int64_t rope_positions_ = 0;
  bool keeps_steps_ = true;
  const int64_t serial_ = next_serial();
};

}  // namespace humanizer
