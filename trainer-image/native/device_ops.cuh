// The operations on the device. Formulas and shapes are those of each op's .h; here stands what a device adds to them:
//
//   Every pointer is device memory. Every operation only puts kernels into the stream; it waits for nothing and
//   allocates nothing. T is float, which the CPU backend's numbers are compared with, or bf16. Sums are f32 in an order
//   that only the shapes set: the same bits on every run. Where rows are aligned to 16 bytes and whole eights they are
//   read and written so; any other shape is right, and slower.
#pragma once

#include "adamw.h"
#include "adamw8bit.h"
#include "attention.h"
#include "cross_entropy.h"
#include "device.cuh"
#include "distribution.h"
#include "few_rows.h"
#include "formats.h"
#include "lora.h"
#include "nf4.h"
#include "sampling.h"

namespace humanizer::cuda {

// Nf4Tensor::code and absmax_map are device memory too, so they must be set even where they are the usual tables.

template <class T>
void nf4_quantize(cudaStream_t stream, uint8_t* codes, float* absmax, const T* values, int64_t count, int64_t block);
// *offset instead of a result. map: kDynamicCode.
void nf4_quantize_absmax(cudaStream_t stream, uint8_t* code, float* scale, float* offset, const float* absmax,
                         int64_t blocks, const float* map);
// out, row by row, = x'[begin...]; its rows may lie apart, so that LoRA's B stands beside them.
template <class T>
void nf4_dequantize(cudaStream_t stream, View<T> out, const Nf4Tensor& tensor, int64_t begin);

// out, row by row, = the values of the blocks, of which a row is a whole number.
template <class T>
void decode(cudaStream_t stream, View<T> out, const uint8_t* blocks, Format format);
// out[r,:] = row tokens[r] of w.
template <class T>
void embedding(cudaStream_t stream, View<T> out, const HeldMatrix& w, const int32_t* tokens);

// rows.h
template <class T>
void gather_rows(cudaStream_t stream, View<T> to, View<const T> from, const int32_t* indices);
template <class T>
void scatter_rows(cudaStream_t stream, View<T> to, View<const T> from, const int32_t* indices);
template <class T>
void copy_rows(cudaStream_t stream, View<T> to, View<const float> from);

// At most kFewRows rows.
template <class T>
void few_rows_matmul(cudaStream_t stream, View<T> y, View<const T> x, const HeldMatrix& w, float beta);

template <class T>
void add_bias(cudaStream_t stream, View<T> y, const float* bias);

template <class T>
void rmsnorm_forward(cudaStream_t stream, View<T> y, float* rstd, View<const T> x, const float* w, float eps);
template <class T>
void rmsnorm_replay(cudaStream_t stream, View<T> y, const float* rstd, View<const T> x, const float* w);
template <class T>
void rmsnorm_backward(cudaStream_t stream, View<T> dx, View<const T> dy, View<const T> x, const float* rstd,
                      const float* w);

template <class T>
void rope(cudaStream_t stream, View<T> x, const int32_t* positions, const float* table, int64_t head_size,
          bool backward);

template <class T>
void swiglu_forward(cudaStream_t stream, View<T> y, View<const T> gu);
template <class T>
void swiglu_backward(cudaStream_t stream, View<T> dgu, View<const T> dy, View<const T> gu);

// Rows of packed documents: row i sees the rows [first[i], i], and is seen by those up to last[i], not included.
struct Packed {
  const int32_t *first, *last;
};
template <class T>
struct AttentionInput {
  View<const T> q, k, v;
};
// bf16: tensor cores; head_size a multiple of 8, at most 128, and every row aligned to 16 bytes. Throws
// Error{kInvalidArgument} for others.
template <class T>
void attention_forward(cudaStream_t stream, View<T> out, float* lse, const AttentionInput<T>& in, const Packed& rows,
                       const AttentionShape& shape);
// scratch: (rows, heads) floats.
template <class T>
void attention_backward(cudaStream_t stream, const AttentionInput<T>& in, View<T> dq, View<T> dk, View<T> dv,
                        View<const T> dout, View<const T> out, const float* lse, const Packed& rows,
                        const AttentionShape& shape, float* scratch);

// One row of a decoding step with the cache of its sequence: it sees `keys` of them.
template <class T>
struct CachedRow {
  T *k, *v;  // (keys, kv_heads * D), dense
  int64_t keys;
};
// Row r of keys and values (R, kv_heads * D) becomes the last of rows[r]'s cache.
template <class T>
void append_to_caches(cudaStream_t stream, const CachedRow<T>* rows, View<const T> keys, View<const T> values);
inline constexpr int64_t kKeysOfSplit = 256;  // that one block of threads goes through
// rows: q.rows of them, in device memory; longest: no less than the keys of each.
// scratch: q.rows * heads * ceil(longest / kKeysOfSplit) * (head_size + 2) floats.
template <class T>
void attention_cached(cudaStream_t stream, View<T> out, View<const T> q, const CachedRow<T>* rows, int64_t longest,
                      const AttentionShape& shape, float* scratch);

// LoraWeights are the f32 masters, rounded to T on use; Dropout's arrays are device memory.
template <class T>
void lora_forward(cudaStream_t stream, View<T> y, View<T> h, View<const T> x, const LoraWeights& w,
                  const Dropout& dropout);
inline constexpr int64_t kLoraPart = 512;  // rows whose share of dA and dB one block of threads adds up
// Bytes of lora_backward's scratch: sums of dA and dB, dh, the bits of the mask.
inline int64_t lora_backward_scratch(int64_t rows, int64_t in, int64_t out, int64_t rank) {
  const int64_t parts = (rows + kLoraPart - 1) / kLoraPart;
  return ((rows + parts * (in > out ? in : out)) * rank + rows * mask_words(in)) * static_cast<int64_t>(sizeof(float));
}
template <class T>
void lora_backward(cudaStream_t stream, View<T> dx, float* da, float* db, View<const T> dy, View<const T> x,
                   View<const T> h, const LoraWeights& w, const Dropout& dropout, void* scratch);

// Z: the type of the logits, T that of their gradient.
template <class Z>
void cross_entropy_scan(cudaStream_t stream, RowSoftmax* rows, View<const Z> z, const int32_t* labels, int64_t first);
template <class Z, class T>
void cross_entropy_gradient(cudaStream_t stream, View<T> dz, View<const Z> z, const RowSoftmax* rows,
                            const int32_t* labels, int64_t first);
// nll[r] of rows that have been scanned.
void cross_entropy_loss(cudaStream_t stream, double* nll, const RowSoftmax* rows, int64_t count);

// sums[d] += the nll of rows [first[d], first[d + 1]).
void loss_sums(cudaStream_t stream, double* sums, const double* nll, const int32_t* first, int64_t documents);

void distribution_scan(cudaStream_t stream, RowDistribution* rows, View<const float> z, const int32_t* labels,
                       int64_t first);

// non_finite.h
template <class T>
void non_finite_rows(cudaStream_t stream, int32_t* flag, View<const T> x, const double* sum);
void non_finite_parts(cudaStream_t stream, int32_t* flag, const float* values, const int64_t* begin, int64_t parts,
                      const GradientNorm* norm);

inline constexpr int kNormParts = 256;
// scratch: kNormParts doubles.
void gradient_norm(cudaStream_t stream, GradientNorm* norm, const float* gradient, int64_t count, double gradient_scale,
                   double* scratch);
// The same bits as the .cc, given the same norm.
void adamw_update(cudaStream_t stream, float* parameter, float* gradient, float* first, float* second, int64_t count,
                  const GradientNorm* norm, const AdamwOptions& options);
// first_map: kDynamicCode, second_map: kUnsignedDynamicCode.
void adamw8bit_update(cudaStream_t stream, float* parameter, float* gradient, const QuantizedMoments& moments,
                      int64_t count, const GradientNorm* norm, const AdamwOptions& options, const float* first_map,
                      const float* second_map);

void sample_tokens(cudaStream_t stream, SampledToken* out, View<const float> z, View<float> weights,
                   const TokenChoice* choices, const Penalty* penalties);

}  // namespace humanizer::cuda
