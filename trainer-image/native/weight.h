// A frozen matrix of the base model, held as small as it came or as NF4, and made f32 on use.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend.h"
#include "memory.h"

namespace humanizer {

struct FilePart {
  std::string file;
  int64_t offset, bytes;
};

// The rest of a tensor that bitsandbytes saved in 4 bits (nf4.h); the tensor's own bytes are its codes.
struct Nf4Source {
  int64_t block;
  FilePart map, absmax;  // f32 [16];  f32 [blocks], or u8 when nested
  bool nested;
  FilePart nested_map, nested_absmax;  // f32 [256];  f32 [ceil(blocks / 256)]
  float nested_offset;
};

// Where a tensor lies. The reader of the file format found it; only the bytes are read here.
struct TensorSource {
  std::string name, file;
  Format format;
  std::vector<int64_t> shape;
  int64_t offset, bytes;
  int64_t unpermute_heads;  // llama.cpp interleaves the rows of q and k per head; 0: rows are as they should be
  std::optional<Nf4Source> nf4 = std::nullopt;  // format is then not read
};

struct Quantization {
  bool nf4;
  int64_t block;
  bool double_quantization;
};

class Weight {
 public:
  Weight() = default;
  // In the format of the file. Throws Error{kDataInvalid} naming the tensor when the file is too short, a size is
  // impossible or a value is no finite number.
  static Weight stored(const Backend& backend, Account& account, const TensorSource& source);
  // Quantised to NF4 from the f32 values of the file.
  static Weight quantized(const Backend& backend, Account& account, const TensorSource& source,
                          const Quantization& how);
  // As bitsandbytes saved it: source.nf4 is set. Codes, scales and tables are taken over byte for byte.
  static Weight saved_nf4(Account& account, const TensorSource& source);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  // Rows [begin, begin + rows) in the backend's type of activations: a view of the weight when it has that already,
  // else decoded into scratch. NF4 decodes whole: begin 0, all rows.
  ConstRows decode(const Backend& backend, int64_t begin, int64_t rows, float* scratch) const;
  // Copies into scratch even when it need not be decoded: parts of a fused projection must lie together.
  void decode_into(const Backend& backend, float* scratch) const;
  HeldMatrix held() const { return {stored_.as<uint8_t>(), format_, nf4_, rows_, cols_}; }
  // y = beta y + x W^T, or x W, with the rows [begin, begin + rows) of W that decode takes. scratch: product_scratch
  // floats.
  void multiply(const Backend& backend, Rows y, ConstRows x, int64_t begin, int64_t rows, Transpose transpose,
                float beta, float* scratch) const;
  // Floats that a product with `rows` rows of W takes.
  int64_t product_scratch(const Backend& backend, int threads, int64_t rows) const;
  // Floats that multiply_few_rows takes for x_rows rows.
  int64_t few_rows_scratch(const Backend& backend, int threads, int64_t x_rows) const;

 private:
  HeldMatrix held(int64_t begin, int64_t rows) const;

  int64_t rows_ = 0, cols_ = 0;
  Format format_ = Format::kF32;
  Buffer stored_, codes_, absmax_, absmax_scale_, maps_;
  Nf4Tensor nf4_{};
};

// y = beta y + x W^T for few rows of x (at most kFewRows but with few_rows_bf16, which takes any) and one to three
// weights, whose outputs stand side by side in y.
// scratch: the largest few_rows_scratch of them.
void multiply_few_rows(const Backend& backend, Rows y, ConstRows x, std::span<const Weight> weights, float beta,
                       float* scratch);

// The same of any rows by a backend's bf16_matmul, or y = x W, where the weights' outputs stand side by side in x.
// scratch: joined_scratch floats of them.
void multiply_joined(const Backend& backend, Rows y, ConstRows x, std::span<const Weight> weights, Transpose transpose,
                     float beta, float* scratch);
int64_t joined_scratch(int threads, std::span<const Weight> weights);

// All values of a tensor as f32, in the host's memory: norm weights, biases; a merge's and the tests' matrices.
// backend: a CPU's.
std::vector<float> read_values(const Backend& backend, const TensorSource& source);

}  // namespace humanizer
