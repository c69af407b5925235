// The operations of the engine, one table per way of computing them. llama.cc calls through the table and knows no
// device.
//
// Every operation goes to the stream that the calling thread chose with open_stream: on the CPU it has finished when
// the call returns, on a device it has when synchronize() returns. What one operation decides for the next (a
// non-finite step skips its update) therefore passes through memory, never through the host.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "adamw.h"
#include "adamw8bit.h"
#include "attend.h"
#include "bf16_attention.h"
#include "bf16_lora.h"
#include "bf16_matmul.h"
#include "cross_entropy.h"
#include "distribution.h"
#include "few_rows_bf16.h"
#include "formats.h"
#include "lora.h"
#include "matmul.h"
#include "memory.h"
#include "min_hash.h"
#include "nf4.h"
#include "non_finite.h"
#include "rmsnorm.h"
#include "rope.h"
#include "rows.h"
#include "sampling.h"
#include "swiglu.h"

namespace humanizer {

using AddBias = void(Rows y, const float* bias);  // y[r,:] += bias

// Floats of scratch that the operations of the same name want.
using LoraScratch = int64_t(int threads, int64_t rows, int64_t in, int64_t out, int64_t rank);
// documents, keys, longest: of the pass, in number, in all and in one; rows: queries.
using AttentionScratch = int64_t(int threads, int64_t documents, int64_t keys, int64_t longest, int64_t rows,
                                 const AttentionShape& shape, bool backward);

struct Backend {
  const char* instruction_path;  // "baseline", "avx2", "avx512", "avx512_bf16"; of a device: "cuda", "cuda_f32"
  int64_t activation_bytes = sizeof(float);  // of one value: 4, or 2 where activations and their gradients are bf16
  int64_t group_tokens = 1024;               // packed tokens of a pass: what a training step goes through at a time
  int64_t logits_bytes = int64_t{64} << 20;  // of the logits that exist at once, in f32
  bool logits_again = false;  // under Checkpointing::kFull a block of them exists at once, which is made twice
  const Memory& memory = kHostMemory;

  void (*open_stream)(int threads);  // for the calling thread, which then calls the operations below
  // Until the next download or synchronize() nothing is allocated and nothing is waited for. key: all that the
  // operations till then follow from, beside what lies in memory and the `upload_bytes` that they upload; empty: they
  // come once. False: a step of this key is kept, and runs at the download: only its uploads are to be asked for, and
  // the download, as they were. Both throw StepNotKept (device_error.h), once, where a step cannot be kept.
  bool (*begin)(std::span<const int64_t> key, size_t upload_bytes);
  void (*synchronize)();

  // The frozen matrices of a pass go through `tiles` pieces of memory. Where there are two, `decode` fills one beside
  // the operations that were asked for before it, and waits for none of them but the last that read the tile. Where
  // there is one, these are null.
  int tiles = 1;
  void (*open_tiles)() = nullptr;  // what was asked for till now had other uses for their memory
  void (*decode_tile)(int tile, const std::function<void()>& decode) = nullptr;
  void (*tile_decoded)(int tile) = nullptr;  // what is asked for then waits for it
  void (*tile_read)(int tile) = nullptr;     // by the operation that was asked for last

  // Activations that wait in the host's memory (Checkpointing::kOffload). Where memory is the host's own these are
  // null.
  const Memory* host_memory = nullptr;  // that copies beside the operations can use
  // After what was asked for till now, beside what comes then; of each slot, 0 or 1, one at a time.
  void (*offload)(int slot, void* host, const void* from, size_t bytes) = nullptr;
  void (*fetch)(int slot, void* to, const void* host, size_t bytes) = nullptr;
  void (*copied)(int slot) = nullptr;  // what comes then waits for the slot's last copy

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
  Attend* attend;
  AttendBackward* attend_backward;
  AttentionForward* attention_forward = nullptr;  // what attend_spans is made of
  AttentionBackward* attention_backward = nullptr;
  AttentionScratch* attention_scratch;
  LoraForward* lora_forward;
  LoraBackward* lora_backward;
  LoraScratch* lora_scratch;
  CrossEntropyScan* cross_entropy_scan;
  CrossEntropyGradient* cross_entropy_gradient;
  CrossEntropyLoss* cross_entropy_loss;
  LossSums* loss_sums;
  GradientNormOp* gradient_norm;
  AdamwUpdate* adamw_update;
  Adamw8bitUpdate* adamw8bit_update;
  FewRowsMatmul* few_rows_matmul;
  AddBias* add_bias;
  Embedding* embedding;
  GatherRows* gather_rows;
  ScatterRows* scatter_rows;
  CopyRows* copy_rows;
  DecodeHeld* decode_held;
  NonFiniteRows* non_finite_rows;
  NonFiniteParts* non_finite_parts;
  Matmul* matmul;
  // Null where products with frozen matrices are f32, by matmul and few_rows_matmul.
  Bf16Matmul* bf16_matmul = nullptr;
  FewRowsBf16* few_rows_bf16 = nullptr;
  AttentionForward* bf16_attention_forward = nullptr;  // all passes but generation's then go by these
  AttentionBackward* bf16_attention_backward = nullptr;
  LoraForward* bf16_lora_forward = nullptr;
  LoraBackward* bf16_lora_backward = nullptr;
  DistributionScan* distribution_scan;
  SampleTokens* sample_tokens;
  MinHashOp* min_hash = nullptr;  // of every processor, of no device
};

// The CPU tables that this processor runs, the narrowest first, those with bf16 products last; the widest whose
// products are f32; and the one of that name. Throws Error{kInvalidArgument} when the processor has it not.
std::vector<const Backend*> cpu_backends();
const Backend& cpu_backend();
const Backend& cpu_backend(std::string_view instruction_path);

}  // namespace humanizer
