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
DistributionScan distribution_scan;
GradientNormOp gradient_norm;
AdamwUpdate adamw_update;
Adamw8bitUpdate adamw8bit_update;
FewRowsMatmul few_rows_matmul;
MinHashOp min_hash;
#if defined(__AVX512BF16__)
Bf16Matmul bf16_matmul;
FewRowsBf16 few_rows_bf16;
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

void synchronize() {}

#define HUMANIZER_NAME_(isa) #isa
#define HUMANIZER_NAME(isa) HUMANIZER_NAME_(isa)

}  // namespace

extern const Backend kBackend = {
    .instruction_path = HUMANIZER_NAME(HUMANIZER_ISA),
    .open_stream = open_stream,
    .synchronize = synchronize,
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
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .lora_forward = lora_forward,
    .lora_backward = lora_backward,
    .cross_entropy_scan = cross_entropy_scan,
    .cross_entropy_gradient = cross_entropy_gradient,
    .gradient_norm = gradient_norm,
    .adamw_update = adamw_update,
    .adamw8bit_update = adamw8bit_update,
    .matmul = matmul,
    .few_rows_matmul = few_rows_matmul,
    .add_bias = add_bias,
#if defined(__AVX512BF16__)
    .bf16_matmul = bf16_matmul,
    .few_rows_bf16 = few_rows_bf16,
#endif
    .distribution_scan = distribution_scan,
    .min_hash = min_hash,
};

}  // namespace humanizer::HUMANIZER_ISA
