#include "timed_backend.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>

namespace humanizer {

namespace {

#define HUMANIZER_TIMED_OPS(X) \
  X(decode)                    \
  X(nf4_dequantize)            \
  X(rmsnorm_forward)           \
  X(rmsnorm_replay)            \
  X(rmsnorm_backward)          \
  X(rope)                      \
  X(swiglu_forward)            \
  X(swiglu_backward)           \
  X(attention_forward)         \
  X(attention_backward)        \
  X(lora_forward)              \
  X(lora_backward)             \
  X(cross_entropy_scan)        \
  X(cross_entropy_gradient)    \
  X(distribution_scan)         \
  X(sample_tokens)             \
  X(gradient_norm)             \
  X(adamw_update)              \
  X(adamw8bit_update)          \
  X(matmul)                    \
  X(few_rows_matmul)           \
  X(add_bias)                  \
  X(bf16_matmul)               \
  X(few_rows_bf16)             \
  X(cross_entropy_loss)        \
  X(loss_sums)                 \
  X(embedding)                 \
  X(gather_rows)               \
  X(scatter_rows)              \
  X(copy_rows)                 \
  X(decode_held)               \
  X(non_finite_rows)           \
  X(non_finite_parts)          \
  X(attend)                    \
  X(attend_backward)           \
  X(bf16_attention_forward)    \
  X(bf16_attention_backward)   \
  X(bf16_lora_forward)         \
  X(bf16_lora_backward)

enum Op : size_t {
#define HUMANIZER_OP(op) k_##op,
  HUMANIZER_TIMED_OPS(HUMANIZER_OP)
#undef HUMANIZER_OP
      kOps
};

constexpr const char* kNames[] = {
#define HUMANIZER_OP(op) #op,
    HUMANIZER_TIMED_OPS(HUMANIZER_OP)
#undef HUMANIZER_OP
};

struct Count {
  int64_t calls;
  double seconds, operations;
};

std::optional<Backend> table, inner;
std::array<Count, kOps> counts;

double product(int64_t rows, int64_t cols, int64_t depth) {
  return 2.0 * static_cast<double>(rows) * static_cast<double>(cols) * static_cast<double>(depth);
}

// By the arguments, which are those of one operation of the table each.
template <class... Arguments>
double operations(const Arguments&...) {
  return 0;
}

double operations(Rows c, ConstRows a, ConstRows, Transpose transpose, float, float) {
  return product(c.rows, c.cols, transpose == Transpose::kTN ? a.rows : a.cols);
}

double operations(Rows y, ConstRows x, const HeldMatrix*, int64_t, Transpose, float, float*) {
  return product(y.rows, y.cols, x.cols);
}

double operations(Rows y, ConstRows, const HeldMatrix& w, float, float*) { return product(y.rows, w.rows, w.cols); }

double operations(Rows y, ConstRows x, const HeldMatrix*, int64_t, float, float*) {
  return product(y.rows, y.cols, x.cols);
}

double operations(Rows y, Rows, ConstRows x, const LoraWeights& w, const Dropout&, float*) {
  return product(x.rows, x.cols + y.cols, w.rank);
}

double operations(Rows dx, float*, float*, ConstRows dy, ConstRows x, ConstRows, const LoraWeights& w, const Dropout&,
                  float*) {
  return product(x.rows, 2 * dy.cols + (dx.data ? 2 : 1) * x.cols, w.rank);
}

// The pairs of a query and a key that it sees, each one product forward.
double seen(const AttentionSpan* spans, int64_t count, const AttentionShape& shape) {
  int64_t pairs = 0;
  for (int64_t n = 0; n < count; ++n) {
    const int64_t queries = spans[n].q.rows;
    pairs += queries * (spans[n].k.rows - queries) + queries * (queries + 1) / 2;
  }
  return product(pairs, shape.heads, shape.head_size);
}

double operations(const AttentionSpan* spans, int64_t count, const AttentionShape& shape, float*) {
  return 2 * seen(spans, count, shape);
}

double operations(const AttentionSpan* spans, const AttentionGradients*, int64_t count, const AttentionShape& shape,
                  float*) {
  return 4 * seen(spans, count, shape);
}

double seen(const Packing& packing, const AttentionShape& shape) {
  int64_t pairs = 0;
  for (int64_t n = 0; n < packing.count; ++n) {
    const PackedDocument& d = packing.documents[n];
    pairs += d.rows * d.past + d.rows * (d.rows + 1) / 2;
  }
  return product(pairs, shape.heads, shape.head_size);
}

double operations(const Backend&, Rows, float*, const AttentionRows&, const Packing& packing,
                  const AttentionShape& shape, float*) {
  return 2 * seen(packing, shape);
}

double operations(const Backend&, Rows, Rows, Rows, ConstRows, Rows, float*, const AttentionRows&,
                  const Packing& packing, const AttentionShape& shape, float*) {
  return 4 * seen(packing, shape);
}

template <size_t kOp, auto kMember, class Signature>
struct Timed;

template <size_t kOp, auto kMember, class... Arguments>
struct Timed<kOp, kMember, void(Arguments...)> {
  static void run(Arguments... arguments) {
    const auto start = std::chrono::steady_clock::now();
    (*inner.*kMember)(arguments...);
    if (&inner->memory != &kHostMemory) inner->synchronize();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    Count& count = counts[kOp];
    ++count.calls;
    count.seconds += seconds.count();
    count.operations += operations(arguments...);
  }
};

}  // namespace

const Backend& timed(const Backend& backend) {
  counts = {};
  inner.emplace(backend);
  table.emplace(backend);
#define HUMANIZER_OP(op) \
  if (inner->op) table->op = Timed<k_##op, &Backend::op, std::remove_pointer_t<decltype(Backend::op)>>::run;
  HUMANIZER_TIMED_OPS(HUMANIZER_OP)
#undef HUMANIZER_OP
  if (inner->attention_forward) table->attend = inner->attend, table->attend_backward = inner->attend_backward;
  table->begin = [](std::span<const int64_t>, size_t) { return true; };
  table->tiles = 1, table->open_tiles = nullptr, table->decode_tile = nullptr, table->tile_read = nullptr;
  return *table;
}

std::vector<OpTime> take_op_times() {
  std::vector<OpTime> times;
  for (size_t op = 0; op < kOps; ++op) {
    const Count& count = counts[op];
    if (count.calls > 0) times.push_back({kNames[op], count.calls, count.seconds, count.operations});
  }
  counts = {};
  std::ranges::sort(times, std::ranges::greater{}, &OpTime::seconds);
  return times;
}

}  // namespace humanizer
