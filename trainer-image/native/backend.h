// The operations of the engine, one table per way of computing them. llama.cc calls through the table and knows no
// device.
//
// Every operation goes to the stream that the calling thread chose with open_stream: on the CPU it has finished when
// the call returns, on a device it has when synchronize() returns. What one operation decides for the next (a
// non-finite step skips its update) therefore passes through memory, never through the host.
#pragma once

#include <vector>

#include "adamw.h"
#include "adamw8bit.h"
#include "attention.h"
#include "bf16_matmul.h"
#include "cross_entropy.h"
#include "distribution.h"
#include "few_rows_bf16.h"
#include "formats.h"
#include "lora.h"
#include "matmul.h"
#include "min_hash.h"
#include "nf4.h"
#include "rmsnorm.h"
#include "rope.h"
#include "swiglu.h"

namespace humanizer {

using AddBias = void(Rows y, const float* bias);  // y[r,:] += bias

struct Backend {
  const char* instruction_path;  // "baseline", "avx2", "avx512", "avx512_bf16"

  void (*open_stream)(int threads);  // for the calling thread, which then calls the operations below
  void (*synchronize)();

  DecodeOp* decode;
  Nf4QuantizeOp* nf4_quantize;
  Nf4QuantizeAbsmaxOp* nf4_quantize_absmax;
  Nf4DequantizeOp* nf4_dequantize;
  RmsnormForward* rmsnorm_forward;
  RmsnormReplay* rmsnorm_replay;
  RmsnormBackward* rmsnorm_backward;
  Rope* rope;
  SwigluForward* swiglu_forward;
  SwigluBackward* swiglu_backward;
  AttentionForward* attention_forward;
  AttentionBackward* attention_backward;
  LoraForward* lora_forward;
  LoraBackward* lora_backward;
  CrossEntropyScan* cross_entropy_scan;
  CrossEntropyGradient* cross_entropy_gradient;
  GradientNormOp* gradient_norm;
  AdamwUpdate* adamw_update;
  Adamw8bitUpdate* adamw8bit_update;
  Matmul* matmul;
  FewRowsMatmul* few_rows_matmul;
  AddBias* add_bias;
  // Null where products with frozen matrices are f32, by matmul and few_rows_matmul.
  Bf16Matmul* bf16_matmul = nullptr;
  FewRowsBf16* few_rows_bf16 = nullptr;
  DistributionScan* distribution_scan = nullptr;  // null: texts cannot be scored on it
  MinHashOp* min_hash = nullptr;                  // of every processor, of no device
};

// The CPU tables that this processor runs, the narrowest first, those with bf16 products last; the widest whose
// products are f32; and the one of that name. Throws Error{kInvalidArgument} when the processor has it not.
std::vector<const Backend*> cpu_backends();
const Backend& cpu_backend();
const Backend& cpu_backend(std::string_view instruction_path);

}  // namespace humanizer
