// What the op table asks of the device: its memory and streams, and views of them for the kernels (device_ops.cuh).
// Each thread has a stream of its own; pinned memory of a fixed size carries the host's bytes.
#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "cublaslt.h"
#include "cuda.h"
#include "cuda_error.h"
#include "device_ops.cuh"

namespace humanizer {
namespace cuda {

namespace {

constexpr size_t kStaging = size_t{16} << 20;            // pinned bytes of a thread
constexpr size_t kProductsWorkspace = size_t{32} << 20;  // NVIDIA's advice for Hopper

// The tables of nf4.h and adamw8bit.h, in the device's memory for the life of the process.
struct Tables {
  float *nf4, *dynamic, *unsigned_dynamic;
};

float* table_of(const float* values, int64_t count) {
  float* table = nullptr;
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  expect(cudaMalloc(&table, bytes), "cudaMalloc");
  expect(cudaMemcpy(table, values, bytes, cudaMemcpyHostToDevice), "cudaMemcpy");
  return table;
}

const Tables& tables() {
  static const Tables made{table_of(kNf4Code, 16), table_of(kDynamicCode, 256), table_of(kUnsignedDynamicCode, 256)};
  return made;
}

// What one thread has of the device.
class Stream {
 public:
  Stream() {
    expect(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    expect(cudaMallocHost(&staging_, kStaging), "cudaMallocHost");
    expect(cudaMalloc(&small_, kNormParts * sizeof(double)), "cudaMalloc");
  }
  ~Stream() {
    cudaStreamSynchronize(stream_);
    cudaFree(small_);
    cudaFreeHost(staging_);
    cudaStreamDestroy(stream_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  operator cudaStream_t() const { return stream_; }
  Products& products() {
    if (!products_) products_.emplace(kProductsWorkspace);
    return *products_;
  }
  double* small() const { return small_; }  // scratch of one operation: kNormParts of them

  void capture_steps(bool captured) { captured_ = captured; }
  void begin() {
    if (!captured_) return;
    products();
    expect(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    capturing_ = true;
  }
  // What an operation that threw has left half done.
  void abandon() {
    if (!capturing_) return;
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(stream_, &graph) == cudaSuccess) cudaGraphDestroy(graph);
    cudaGetLastError();
    staged_ = 0;
  }
  void wait() {
    if (capturing_) return run_captured();
    expect(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    staged_ = 0;
    ++waits_;
  }
  int64_t waits() const { return waits_; }

  void upload(void* to, const void* host, size_t bytes) {
    for (size_t done = 0; done < bytes;) {
      if (staged_ == kStaging) make_room();
      const size_t part = std::min(bytes - done, kStaging - staged_);
      std::memcpy(staging_ + staged_, static_cast<const char*>(host) + done, part);
      expect(cudaMemcpyAsync(static_cast<char*>(to) + done, staging_ + staged_, part, cudaMemcpyHostToDevice, stream_),
             "cudaMemcpyAsync");
      staged_ += part;
      done += part;
    }
  }
  void download(void* host, const void* from, size_t bytes) {
    if (staged_ == kStaging) make_room();
    for (size_t done = 0; done < bytes;) {
      char* at = staging_ + staged_;
      const size_t part = std::min(bytes - done, kStaging - staged_);
      expect(cudaMemcpyAsync(at, static_cast<const char*>(from) + done, part, cudaMemcpyDeviceToHost, stream_),
             "cudaMemcpyAsync");
      wait();
      std::memcpy(static_cast<char*>(host) + done, at, part);
      done += part;
    }
  }

 private:
  void make_room() {
    if (capturing_) throw Error(Code::kInternal, "a step's uploads exceed the pinned memory of its thread");
    wait();
  }
  void run_captured() {
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    expect(cudaStreamEndCapture(stream_, &graph), "cudaStreamEndCapture");
    const cudaError_t made = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    expect(made, "cudaGraphInstantiate");
    const cudaError_t launched = cudaGraphLaunch(executable, stream_);
    const cudaError_t ran = launched == cudaSuccess ? cudaStreamSynchronize(stream_) : launched;
    cudaGraphExecDestroy(executable);
    expect(ran, "cudaGraphLaunch");
    staged_ = 0;
    ++waits_;
  }

  cudaStream_t stream_ = nullptr;
  char* staging_ = nullptr;
  size_t staged_ = 0;
  double* small_ = nullptr;
  std::optional<Products> products_;
  bool captured_ = false, capturing_ = false;
  int64_t waits_ = 0;
};

Stream& stream() {
  thread_local Stream of_thread;
  return of_thread;
}

// ---------------------------------------------------------------------------------------------------------------------
// Memory

void* allocate(size_t bytes, bool zeroed) {
  void* block = nullptr;
  if (const cudaError_t status = cudaMalloc(&block, bytes); status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw Error(Code::kOutOfMemory, "cannot allocate " + std::to_string(bytes) + " bytes on the GPU: " +
                                        std::to_string(free) + " of " + std::to_string(total) + " are free");
  } else {
    expect(status, "cudaMalloc");
  }
  if (!zeroed) return block;
  expect(cudaMemsetAsync(block, 0, bytes, stream()), "cudaMemsetAsync");
  stream().wait();  // another thread's stream may be the first to use it
  return block;
}

// Throws nothing: what fails here has failed before.
void release(void* block, size_t) {
  cudaStreamSynchronize(stream());
  cudaFree(block);
}

void zero(void* to, size_t bytes) { expect(cudaMemsetAsync(to, 0, bytes, stream()), "cudaMemsetAsync"); }
void copy(void* to, const void* from, size_t bytes) {
  expect(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream()), "cudaMemcpyAsync");
}
void upload(void* to, const void* host, size_t bytes) { stream().upload(to, host, bytes); }
void download(void* host, const void* from, size_t bytes) { stream().download(host, from, bytes); }

const Memory kDeviceMemory = {allocate, release, zero, copy, upload, download};

// ---------------------------------------------------------------------------------------------------------------------
// Views

[[noreturn]] void refuse_width(int64_t width) {
  throw Error(Code::kInternal, "an operation got values of " + std::to_string(width) + " bytes, not of its own type");
}

template <class T>
View<T> view(const Rows& x) {
  if (x.width != sizeof(T)) refuse_width(x.width);
  return {reinterpret_cast<T*>(x.data), x.rows, x.cols, x.stride};
}
template <class T>
View<const T> view(const ConstRows& x) {
  if (x.width != sizeof(T)) refuse_width(x.width);
  return {reinterpret_cast<const T*>(x.data), x.rows, x.cols, x.stride};
}

// With tables that the device can read.
Nf4Tensor on_device(Nf4Tensor tensor) {
  if (tensor.code == kNf4Code) tensor.code = tables().nf4;
  if (tensor.absmax_map == kDynamicCode) tensor.absmax_map = tables().dynamic;
  return tensor;
}
HeldMatrix on_device(HeldMatrix w) {
  if (w.nf4.codes) w.nf4 = on_device(w.nf4);
  return w;
}

// ---------------------------------------------------------------------------------------------------------------------
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
  download(&result, offset, sizeof result);
  return result;
}

void dequantize(float* out, const Nf4Tensor& tensor, int64_t begin, int64_t count) {
  nf4_dequantize<float>(stream(), {out, 1, count, count}, on_device(tensor), begin);
}

// ---------------------------------------------------------------------------------------------------------------------
// Attention. In the scratch of a pass with caches: the rows' caches, then what attention_cached wants.

int64_t floats_of_caches(int64_t rows) { return ceil_div(rows * int64_t{sizeof(CachedRow<float>)}, 16) * 4; }

int64_t scratch_of_attention(int, int64_t, int64_t keys, int64_t longest, int64_t rows, const AttentionShape& shape,
                             bool backward) {
  if (backward) return rows * shape.heads;
  const bool cached = keys > rows;  // some were seen before
  const int64_t splits = ceil_div(longest, kKeysOfSplit);
  return floats_of_caches(rows) + (cached ? rows * shape.heads * splits * (shape.head_size + 2) : 0);
}

template <class T>
void attend(const Backend&, Rows out, float* lse, const AttentionRows& in, const Packing& packing,
            const AttentionShape& shape, float* scratch) {
  const View<const T> q = view<T>(in.q), k = view<T>(in.k), v = view<T>(in.v);
  std::vector<CachedRow<T>> caches;
  int64_t longest = 0;
  bool seen_before = false;
  for (int64_t i = 0; i < packing.count; ++i) {
    const PackedDocument& d = packing.documents[i];
    if (!d.keys.data) break;  // all have a cache, or none
    longest = std::max(longest, d.past + d.rows);
    seen_before = seen_before || d.past > 0;
    for (int64_t r = 0; r < d.rows; ++r) {
      caches.push_back({view<T>(d.keys).data, view<T>(d.values).data, d.past + r + 1});
    }
  }
  auto* rows = reinterpret_cast<CachedRow<T>*>(scratch);
  if (!caches.empty()) {
    upload(rows, caches.data(), caches.size() * sizeof caches[0]);
    append_to_caches<T>(stream(), rows, k, v);
  }
  if (seen_before) {
    attention_cached<T>(stream(), view<T>(out), q, rows, longest, shape, scratch + floats_of_caches(q.rows));
  } else {
    attention_forward<T>(stream(), view<T>(out), lse, {q, k, v}, {packing.first, packing.last}, shape);
  }
}

template <class T>
void attend_backward(const Backend&, Rows dq, Rows dk, Rows dv, ConstRows dout, Rows out, float* lse,
                     const AttentionRows& in, const Packing& packing, const AttentionShape& shape, float* scratch) {
  attention_backward<T>(stream(), {view<T>(in.q), view<T>(in.k), view<T>(in.v)}, view<T>(dq), view<T>(dk), view<T>(dv),
                        view<T>(dout), view<T>(out), lse, {packing.first, packing.last}, shape, scratch);
}

// ---------------------------------------------------------------------------------------------------------------------
// The rest: the operation of the same name on views of T

void open_stream(int) { stream().abandon(); }
void begin() { stream().begin(); }
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
      .memory = kDeviceMemory,
      .open_stream = open_stream,
      .begin = begin,
      .synchronize = synchronize,
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
      .attention_scratch = scratch_of_attention,
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

// Throws what stands in the way of using the first device.
void open_device() {
  int devices = 0;
  expect(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  expect(cudaSetDevice(0), "cudaSetDevice");
}

}  // namespace

void capture_steps(bool captured) { stream().capture_steps(captured); }
int64_t waits() { return stream().waits(); }

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

DeviceMemory device_memory() {
  cuda::open_device();
  size_t free = 0, total = 0;
  cuda::expect(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

}  // namespace humanizer
