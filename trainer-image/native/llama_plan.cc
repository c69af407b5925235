// Where the memory of one pass lies. Of blocks that are never in use at the same time one lies over the other.
#include <algorithm>

#include "head.h"
#include "llama.h"

namespace humanizer {

namespace {

// Floats that `count` values of `width` bytes take.
int64_t floats_of(int64_t count, int64_t width) { return (count * width + 3) / 4; }

}  // namespace

float* Llama::take(Arena& arena, int64_t count) const {
  return static_cast<float*>(arena.take_bytes(static_cast<size_t>(count * backend_.activation_bytes)));
}

Llama::Workspace Llama::plan(Arena& arena, const Pass& pass) const {
  Workspace w{};
  w.x = take(arena, pass.rows * a_.hidden);
  w.dx = w.x;  // the head has read the last layer's output when it writes the gradient of that
  const bool all = pass.training && checkpointing_ == Checkpointing::kNone;
  const auto take_activation = [&] { w.activation = take(arena, all ? 0 : pass.rows * a_.intermediate); };
  arena.overlay(
      [&] {
        take_activation();  // the last layer's is not made again: it outlives the head
        plan_head(arena, pass, w);
      },
      [&] {
        const int64_t trained = pass.training ? pass.rows : 0;
        arena.overlay(
            [&] {
              take_activation();
              w.dactivation = take(arena, trained * a_.intermediate);
            },
            [&] {
              w.normed = take(arena, pass.rows * std::max(a_.hidden, a_.q_size()));
              w.dnormed = take(arena, trained * a_.hidden);
              w.dqkv = take(arena, trained * a_.qkv_size());
            });
        plan_products(arena, pass, w);
      });
  plan_layers(arena, pass, w);
  plan_input(arena, pass, w);
  return w;
}

int64_t Llama::rank_of(const Pass& pass) {
  int64_t rank = 0;
  for (const Run& run : pass.runs) rank = run.adapter ? std::max(rank, run.adapter->config().rank) : rank;
  return rank;
}

bool Llama::keeps_mask(const Pass& pass, Module module) const {
  if (!pass.training || full()) return false;
  const Adapter& adapter = *pass.runs.front().adapter;
  return adapter.has(module) && adapter.config().dropout != 0;
}

void Llama::plan_layers(Arena& arena, const Pass& pass, Workspace& w) const {
  const int64_t rows = pass.rows, ffn = a_.intermediate, hidden = a_.hidden, rank = rank_of(pass);
  const bool all = pass.training && checkpointing_ == Checkpointing::kNone;
  const ModuleShapes shapes = module_shapes(a_);
  for (int64_t l = 0; l < (pass.training ? a_.layers : 1); ++l) {
    if (l > 0 && full()) {
      w.layers.push_back(w.layers.front());
      const bool offloads = offloaded(pass, 0);  // the inputs go through two places in turn
      if (offloads && l > 1) {
        w.layers.back().x = w.layers[static_cast<size_t>(l - 2)].x;
      } else if (offloads || l > 1) {
        w.layers.back().x = take(arena, rows * hidden);
      }
      continue;
    }
    Saved s{};
    // Without a backward pass the residual stream is updated in place.
    s.x = pass.training ? take(arena, rows * hidden) : w.x;
    s.middle = pass.training ? take(arena, rows * hidden) : w.x;
    s.attention_input = all ? take(arena, rows * hidden) : w.normed;
    s.mlp_input = all ? take(arena, rows * hidden) : w.normed;
    s.activation = all ? take(arena, rows * ffn) : w.activation;
    s.rstd_attention = arena.take(rows);
    s.qkv = take(arena, rows * a_.qkv_size());
    s.attention = take(arena, rows * a_.q_size());
    s.lse = arena.take(rows * a_.heads);
    s.rstd_mlp = arena.take(rows);
    s.gate_up = take(arena, rows * 2 * ffn);
    for (size_t m = 0; m < kModules; ++m) {
      s.h[m] = take(arena, shapes[m].name ? rows * rank : 0);
      if (keeps_mask(pass, static_cast<Module>(m))) s.kept[m] = arena.take<uint32_t>(rows * mask_words(shapes[m].in));
    }
    w.layers.push_back(s);
  }
  // Under kFull the embedding is made again, over the second layer's input; forward has it where the last output comes.
  w.embedded = full() && pass.training && a_.layers > 1 && !offloaded(pass, 0) ? w.x : w.layers[0].x;
}

// Scratch of the layers' products, of LoRA and of attention.
void Llama::plan_products(Arena& arena, const Pass& pass, Workspace& w) const {
  const int64_t rows = pass.rows, ffn = a_.intermediate, hidden = a_.hidden, rank = rank_of(pass);
  const ModuleShapes shapes = module_shapes(a_);
  int64_t lora = 0;
  for (const ModuleShape& shape : shapes)
    lora = std::max(lora, backend_.lora_scratch(threads_, rows, shape.in, shape.out, rank));
  const int64_t decoded = std::max(a_.qkv_size(), 2 * ffn) * hidden;
  int64_t weights = backend_.bf16_matmul ? 0 : floats_of(decoded, backend_.activation_bytes);
  const int64_t few = pass.generation ? rows : kFewRows;
  for (size_t l = 0; l < weights_.layers.size(); ++l) {  // of a base that came in 4 bits some layers may not be
    for (size_t m = 0; m < kModules; ++m) {
      if (shapes[m].name)
        weights = std::max(weights, weights_.layers[l].linear[m].few_rows_scratch(backend_, threads_, few));
    }
    for (const Module first : {kQ, kO, kGate, kDown}) {
      if (backend_.bf16_matmul) weights = std::max(weights, joined_scratch(threads_, joined_weights(l, first)));
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
}

LogitsKept Llama::logits_kept() const {
  return full() && backend_.logits_again ? LogitsKept::kBlock : LogitsKept::kAll;
}

void Llama::plan_head(Arena& arena, const Pass& pass, Workspace& w) const {
  const auto heads = static_cast<int64_t>(pass.head_rows.size());
  const int64_t part = std::min(heads, head_rows(backend_, a_.vocabulary));
  w.head_x = take(arena, heads * a_.hidden);
  w.head_normed = take(arena, heads * a_.hidden);
  w.head_rstd = arena.take(heads);
  const LogitsKept kept = pass.training ? logits_kept() : LogitsKept::kBlock;
  w.head_scratch =
      arena.take(pass.generation ? part * a_.vocabulary + std::max(head_block_scratch(backend_, threads_, head()),
                                                                   head().few_rows_scratch(backend_, threads_, part))
                                 : head_loss_scratch(backend_, threads_, heads, head(), kept));
  w.softmax = arena.take<RowSoftmax>(part);
  w.distributions = arena.take<RowDistribution>(pass.scoring ? part : 0);
  const auto choices = static_cast<int64_t>(pass.choices.size());
  w.token_weights = arena.take(choices > 0 ? part * a_.vocabulary : 0);
  if (!pass.training) return;
  w.dhead = arena.take(heads * a_.hidden);
  w.dhead_narrow = take(arena, narrow() ? heads * a_.hidden : 0);
}

// What the host says of the pass, and what becomes of the rows whose logits matter.
void Llama::plan_input(Arena& arena, const Pass& pass, Workspace& w) const {
  const auto heads = static_cast<int64_t>(pass.head_rows.size()), choices = static_cast<int64_t>(pass.choices.size());
  w.nll = arena.take<double>(heads);
  w.sampled = arena.take<SampledToken>(choices);
  w.choices = arena.take<TokenChoice>(choices);
  // In steps, so that an answer's growth seldom wants more memory.
  w.penalties = arena.take<Penalty>((static_cast<int64_t>(pass.penalties.size()) + 1023) / 1024 * 1024);
  for (int32_t** of_rows : {&w.tokens, &w.positions, &w.first_seen, &w.seen_until}) {
    *of_rows = arena.take<int32_t>(pass.rows);
  }
  w.ordinals = arena.take<uint32_t>(static_cast<int64_t>(pass.ordinals.size()));
  w.offsets = arena.take<uint32_t>(static_cast<int64_t>(pass.offsets.size()));
  w.step = arena.take<uint32_t>(pass.training ? 1 : 0);
  w.head_rows = arena.take<int32_t>(heads);
  w.labels = arena.take<int32_t>(static_cast<int64_t>(pass.labels.size()));
  w.first_of_document = arena.take<int32_t>(static_cast<int64_t>(pass.first_of_document.size()));
}

}  // namespace humanizer
