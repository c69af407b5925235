// The op table of the device: each operation on views of the activations' type T, on the calling thread's stream
// (cuda_stream.cuh).
#include "cuda.h"
#include "cuda_attention.cuh"
#include "cuda_memory.h"
#include "cuda_views.cuh"

namespace humanizer {
namespace cuda {

namespace {

// Loading: f32, a row of the view as long as every format's blocks divide.

void decode_f32(float* out, const uint8_t* blocks, int64_t count, Format format) {
  constexpr int64_t kRow = 4096;
  const FormatSize size = format_size(format);
  const int64_t rows = count / kRow, rest = count % kRow;
  if (rows > 0) decode<float>(stream(), {out, rows, kRow, kRow}, blocks, format);
  if (rest == 0) return;
  decode<float>(stream(), {out + rows * kRow, 1, rest, rest}, blocks + rows * kRow / size.values * size.bytes, format);
}

void quantize(uint8_t* codes, float* absmax, const float* values, int64_t count, int64_t block) {
  nf4_quantize(stream(), codes, absmax, values, count, block);
}

float quantize_absmax(uint8_t* code, float* scale, const float* absmax, int64_t blocks) {
  auto* offset = reinterpret_cast<float*>(stream().small());
  nf4_quantize_absmax(stream(), code, scale, offset, absmax, blocks, tables().dynamic);
  float result = 0;
  kDeviceMemory.download(&result, offset, sizeof result);
  return result;
}

void dequantize(float* out, const Nf4Tensor& tensor, int64_t begin, int64_t count) {
  nf4_dequantize<float>(stream(), {out, 1, count, count}, on_device(tensor), begin);
}

// ---------------------------------------------------------------------------------------------------------------------
// The rest: the operation of the same name on views of T

void open_stream(int) { stream().abandon(); }
bool begin(std::span<const int64_t> key, size_t upload_bytes) { return stream().begin(key, upload_bytes); }
void synchronize() { stream().wait(); }

int64_t scratch_of_lora(int, int64_t rows, int64_t in, int64_t out, int64_t rank) {
  return ceil_div(lora_backward_scratch(rows, in, out, rank), int64_t{sizeof(float)});
}

template <class T>
void product(Rows c, ConstRows a, ConstRows b, Transpose transpose, float alpha, float beta) {
  if constexpr (!std::is_same_v<T, float>) {
    if (c.width == sizeof(float)) {
      return stream().products().multiply<T, float>(stream(), view<float>(c), view<T>(a), view<T>(b), transpose, alpha,
                                                    beta);
    }
  }
  stream().products().multiply<T, T>(stream(), view<T>(c), view<T>(a), view<T>(b), transpose, alpha, beta);
}

template <class T>
void decode_all(Rows out, const HeldMatrix& w) {
  const HeldMatrix held = on_device(w);
  if (held.nf4.codes) return nf4_dequantize<T>(stream(), view<T>(out), held.nf4, 0);
  decode<T>(stream(), view<T>(out), held.stored, held.format);
}

template <class T>
Backend table(const char* name) {
  return {
      .instruction_path = name,
      .activation_bytes = sizeof(T),
      .group_tokens = 8192,
      .logits_bytes = int64_t{512} << 20,
      .logits_again = true,
      .memory = kDeviceMemory,
      .open_stream = open_stream,
      .begin = begin,
      .synchronize = synchronize,
      .tiles = kTiles,
      .open_tiles = [] { stream().open_tiles(); },
      .decode_tile = [](int tile, const std::function<void()>& decode) { stream().decode_tile(tile, decode); },
      .tile_decoded = [](int tile) { stream().tile_decoded(tile); },
      .tile_read = [](int tile) { stream().tile_read(tile); },
      .host_memory = &kPinnedMemory,
      .offload = [](int slot, void* host, const void* from,
                    size_t bytes) { stream().copy_beside(slot, host, from, bytes, cudaMemcpyDeviceToHost); },
      .fetch = [](int slot, void* to, const void* host,
                  size_t bytes) { stream().copy_beside(slot, to, host, bytes, cudaMemcpyHostToDevice); },
      .copied = [](int slot) { stream().copied(slot); },
      .decode = decode_f32,
      .nf4_quantize = quantize,
      .nf4_quantize_absmax = quantize_absmax,
      .nf4_dequantize = dequantize,
      .rmsnorm_forward = [](Rows y, float* rstd, ConstRows x, const float* w,
                            float eps) { rmsnorm_forward<T>(stream(), view<T>(y), rstd, view<T>(x), w, eps); },
      .rmsnorm_replay = [](Rows y, const float* rstd, ConstRows x,
                           const float* w) { rmsnorm_replay<T>(stream(), view<T>(y), rstd, view<T>(x), w); },
      .rmsnorm_backward =
          [](Rows dx, ConstRows dy, ConstRows x, const float* rstd, const float* w) {
            rmsnorm_backward<T>(stream(), view<T>(dx), view<T>(dy), view<T>(x), rstd, w);
          },
      .rope = [](Rows x, const int32_t* positions, const float* rotations, int64_t head_size,
                 bool backward) { rope<T>(stream(), view<T>(x), positions, rotations, head_size, backward); },
      .swiglu_forward = [](Rows y, ConstRows gu) { swiglu_forward<T>(stream(), view<T>(y), view<T>(gu)); },
      .swiglu_backward = [](Rows dgu, ConstRows dy,
                            ConstRows gu) { swiglu_backward<T>(stream(), view<T>(dgu), view<T>(dy), view<T>(gu)); },
      .attend = attend<T>,
      .attend_backward = attend_backward<T>,
      .attention_scratch = attend_scratch,
      .lora_forward = [](Rows y, Rows h, ConstRows x, const LoraWeights& w, const Dropout& dropout,
                         float*) { lora_forward<T>(stream(), view<T>(y), view<T>(h), view<T>(x), w, dropout); },
      .lora_backward =
          [](Rows dx, float* da, float* db, ConstRows dy, ConstRows x, ConstRows h, const LoraWeights& w,
             const Dropout& dropout, float* scratch) {
            lora_backward<T>(stream(), view<T>(dx), da, db, view<T>(dy), view<T>(x), view<T>(h), w, dropout, scratch);
          },
      .lora_scratch = scratch_of_lora,
      .cross_entropy_scan =
          [](RowSoftmax* rows, ConstRows z, const int32_t* labels, int64_t first) {
            cross_entropy_scan<float>(stream(), rows, view<float>(z), labels, first);
          },
      .cross_entropy_gradient =
          [](Rows dz, ConstRows z, const RowSoftmax* rows, const int32_t* labels, int64_t first) {
            cross_entropy_gradient<float, T>(stream(), view<T>(dz), view<float>(z), rows, labels, first);
          },
      .cross_entropy_loss = [](double* nll, const RowSoftmax* rows,
                               int64_t count) { cross_entropy_loss(stream(), nll, rows, count); },
      .loss_sums = [](double* sums, const double* nll, const int32_t* first,
                      int64_t documents) { loss_sums(stream(), sums, nll, first, documents); },
      .gradient_norm = [](GradientNorm* norm, const float* gradient, int64_t count,
                          double scale) { gradient_norm(stream(), norm, gradient, count, scale, stream().small()); },
      .adamw_update =
          [](float* parameter, float* gradient, float* first, float* second, int64_t count, const GradientNorm* norm,
             const AdamwOptions& options) {
            adamw_update(stream(), parameter, gradient, first, second, count, norm, options);
          },
      .adamw8bit_update =
          [](float* parameter, float* gradient, const QuantizedMoments& moments, int64_t count,
             const GradientNorm* norm, const AdamwOptions& options) {
            adamw8bit_update(stream(), parameter, gradient, moments, count, norm, options, tables().dynamic,
                             tables().unsigned_dynamic);
          },
      .few_rows_matmul = [](Rows y, ConstRows x, const HeldMatrix& w, float beta,
                            float*) { few_rows_matmul<T>(stream(), view<T>(y), view<T>(x), on_device(w), beta); },
      .add_bias = [](Rows y, const float* bias) { add_bias<T>(stream(), view<T>(y), bias); },
      .embedding = [](Rows out, const HeldMatrix& w,
                      const int32_t* tokens) { embedding<T>(stream(), view<T>(out), on_device(w), tokens); },
      .gather_rows = [](Rows to, ConstRows from,
                        const int32_t* indices) { gather_rows<T>(stream(), view<T>(to), view<T>(from), indices); },
      .scatter_rows = [](Rows to, ConstRows from,
                         const int32_t* indices) { scatter_rows<T>(stream(), view<T>(to), view<T>(from), indices); },
      .copy_rows = [](Rows to, ConstRows from) { copy_rows<T>(stream(), view<T>(to), view<float>(from)); },
      .decode_held = decode_all<T>,
      .non_finite_rows = [](int32_t* flag, ConstRows x,
                            const double* sum) { non_finite_rows<T>(stream(), flag, view<T>(x), sum); },
      .non_finite_parts =
          [](int32_t* flag, const float* values, const int64_t* begins, int64_t parts, const GradientNorm* norm) {
            non_finite_parts(stream(), flag, values, begins, parts, norm);
          },
      .matmul = product<T>,
      .distribution_scan = [](RowDistribution* rows, ConstRows z, const int32_t* labels,
                              int64_t first) { distribution_scan(stream(), rows, view<float>(z), labels, first); },
      .sample_tokens =
          [](SampledToken* out, ConstRows z, Rows weights, const TokenChoice* choices, const Penalty* penalties) {
            sample_tokens(stream(), out, view<float>(z), view<float>(weights), choices, penalties);
          },
  };
}

}  // namespace
}  // namespace cuda

bool built_with_cuda() { return true; }

const Backend& cuda_backend() {
  cuda::open_device();
  static const Backend made = cuda::table<cuda::bf16>("cuda");
  return made;
}

const Backend& cuda_f32_backend() {
  cuda::open_device();
  static const Backend made = cuda::table<float>("cuda_f32");
  return made;
}

}  // namespace humanizer
