// One column of the op table, compiled once for each instruction path (CMakeLists.txt): HUMANIZER_ISA is its namespace.
#include <omp.h>

#include "backend.h"

namespace humanizer::HUMANIZER_ISA {

// Declared by the type that each op's header gives as its contract; defined in the .cc of the same name.
DecodeOp decode;
Nf4QuantizeOp nf4_quantize;
Nf4QuantizeAbsmaxOp nf4_quantize_absmax;
Nf4DequantizeOp nf4_dequantize;
RmsnormForward rmsnorm_forward;
RmsnormReplay rmsnorm_replay;
RmsnormBackward rmsnorm_backward;
Rope rope;
SwigluForward swiglu_forward;
SwigluBackward swiglu_backward;
AttentionForward attention_forward;
AttentionBackward attention_backward;
LoraForward lora_forward;
LoraBackward lora_backward;
CrossEntropyScan cross_entropy_scan;
CrossEntropyGradient cross_entropy_gradient;
CrossEntropyLoss cross_entropy_loss;
LossSums loss_sums;
DistributionScan distribution_scan;
GradientNormOp gradient_norm;
AdamwUpdate adamw_update;
Adamw8bitUpdate adamw8bit_update;
FewRowsMatmul few_rows_matmul;
Embedding embedding;
GatherRows gather_rows;
ScatterRows scatter_rows;
CopyRows copy_rows;
DecodeHeld decode_held;
MinHashOp min_hash;
#if defined(__AVX512BF16__)
Bf16Matmul bf16_matmul;
FewRowsBf16 few_rows_bf16;
AttentionForward bf16_attention_forward;
AttentionBackward bf16_attention_backward;
LoraForward bf16_lora_forward;
LoraBackward bf16_lora_backward;
#endif

namespace {

void add_bias(Rows y, const float* bias) {
  for (int64_t r = 0; r < y.rows; ++r) {
    float* out = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < y.cols; ++c) out[c] += bias[c];
  }
}

void open_stream(int threads) {
  omp_set_dynamic(0);  // the order of sums depends on the number of threads
  omp_set_num_threads(threads);
}

bool begin(std::span<const int64_t>, size_t) { return true; }
void nothing() {}

int64_t lora_scratch_of(int threads, int64_t, int64_t in, int64_t out, int64_t rank) {
  const int64_t f32 = lora_scratch(threads, in, out, rank);
#if defined(__AVX512BF16__)
  const int64_t bf16 = bf16_lora_scratch(threads, in, out, rank);
  return bf16 > f32 ? bf16 : f32;
#else
  return f32;
#endif
}
int64_t attention_scratch_of(int threads, int64_t documents, int64_t keys, int64_t longest, int64_t,
                             const AttentionShape& shape, bool backward) {
  const int64_t f32 = attention_scratch(threads, documents, keys, longest, shape, backward);
#if defined(__AVX512BF16__)
  const int64_t bf16 = bf16_attention_scratch(threads, documents, keys, longest, shape, backward);
  return bf16 > f32 ? bf16 : f32;
#else
  return f32;
#endif
}

#define HUMANIZER_NAME_(isa) #isa
#define HUMANIZER_NAME(isa) HUMANIZER_NAME_(isa)

}  // namespace

extern const Backend kBackend = {
    .instruction_path = HUMANIZER_NAME(HUMANIZER_ISA),
    .open_stream = open_stream,
    .begin = begin,
    .synchronize = nothing,
    .decode = decode,
    .nf4_quantize = nf4_quantize,
    .nf4_quantize_absmax = nf4_quantize_absmax,
    .nf4_dequantize = nf4_dequantize,
    .rmsnorm_forward = rmsnorm_forward,
    .rmsnorm_replay = rmsnorm_replay,
    .rmsnorm_backward = rmsnorm_backward,
    .rope = rope,
    .swiglu_forward = swiglu_forward,
    .swiglu_backward = swiglu_backward,
    .attend = attend_spans,
    .attend_backward = attend_spans_backward,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .attention_scratch = attention_scratch_of,
    .lora_forward = lora_forward,
    .lora_backward = lora_backward,
    .lora_scratch = lora_scratch_of,
    .cross_entropy_scan = cross_entropy_scan,
    .cross_entropy_gradient = cross_entropy_gradient,
    .cross_entropy_loss = cross_entropy_loss,
    .loss_sums = loss_sums,
    .gradient_norm = gradient_norm,
    .adamw_update = adamw_update,
    .adamw8bit_update = adamw8bit_update,
    .few_rows_matmul = few_rows_matmul,
    .add_bias = add_bias,
    .embedding = embedding,
    .gather_rows = gather_rows,
    .scatter_rows = scatter_rows,
    .copy_rows = copy_rows,
    .decode_held = decode_held,
    .non_finite_rows = non_finite_rows,
    .non_finite_parts = non_finite_parts,
    .matmul = matmul,
#if defined(__AVX512BF16__)
    .bf16_matmul = bf16_matmul,
    .few_rows_bf16 = few_rows_bf16,
    .bf16_attention_forward = bf16_attention_forward,
    .bf16_attention_backward = bf16_attention_backward,
    .bf16_lora_forward = bf16_lora_forward,
    .bf16_lora_backward = bf16_lora_backward,
#endif
    .distribution_scan = distribution_scan,
    .sample_tokens = sample_tokens,
    .min_hash = min_hash,
};

}  // namespace humanizer::HUMANIZER_ISA
