// The kernels at the shapes of Llama 3.2 3B and Llama 3 8B: the first, the last and a few blocks of each launch run, so
// that an index beyond 32 bits, a grid beyond its limits or a block beyond its memory is seen. The last rows are
// compared.
#include <launch.cuh>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

constexpr int64_t kTokens = 8192, kHidden = 3072, kFfn = 8192, kVocabulary = 128256, kTail = 1;

const Backend& cpu() { return cpu_backend(); }

// A matrix of rows * cols that is memory only where it was written: its last rows.
template <class T>
class Tall {
 public:
  Tall(int64_t rows, int64_t cols) : memory_(static_cast<size_t>(rows * cols)), rows_(rows), cols_(cols) {}
  void set_tail(const std::vector<T>& values) const {
    expect(cudaMemcpy(tail(), values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<float> tail_values() const {
    std::vector<T> values(static_cast<size_t>(kTail * cols_));
    expect(cudaMemcpy(values.data(), tail(), values.size() * sizeof(T), cudaMemcpyDeviceToHost));
    return floats(values);
  }
  View<T> all() const { return {memory_.data(), rows_, cols_, cols_}; }
  T* data() const { return memory_.data(); }

 private:
  T* tail() const { return memory_.data() + (rows_ - kTail) * cols_; }
  Device<T> memory_;
  int64_t rows_, cols_;
};

void compare(const char* name, const std::vector<float>& got, const std::vector<float>& expected, double bound) {
  const double error = relative_error(got, expected);
  report(std::string("at its true shape: ") + name,
         error <= bound ? "" : "error " + std::to_string(error) + ", bound " + std::to_string(bound));
}

void elementwise() {
  const Stream stream;
  const std::vector<bf16> gu = random_values<bf16>(kTail * 2 * kFfn), x = random_values<bf16>(kTail * kHidden);
  const std::vector<float> w = random_values<float>(kHidden), gu_host = floats(gu), x_host = floats(x);
  std::vector<float> expected(static_cast<size_t>(kTail * kFfn));
  {
    // 2^31 values and more: 131,072 tokens of one micro-batch
    const Tall<bf16> from(16 * kTokens, 2 * kFfn), to(16 * kTokens, kFfn);
    from.set_tail(gu);
    swiglu_forward<bf16>(stream, to.all(), from.all());
    stream.wait();
    cpu().swiglu_forward(dense(expected.data(), kTail, kFfn), dense(gu_host.data(), kTail, 2 * kFfn));
    // The last block has the last 1024 columns.
    const auto last = [](std::vector<float> values) { return std::vector<float>(values.end() - 1024, values.end()); };
    compare("swiglu of 131072 tokens", last(to.tail_values()), last(expected), kRounded);
  }
  const Tall<bf16> from(kTokens, kHidden), to(kTokens, kHidden);
  const Device<float> weight(w), rstd(kTokens);
  std::vector<float> scale(kTail);
  expected.resize(static_cast<size_t>(kTail * kHidden));
  from.set_tail(x);
  rmsnorm_forward<bf16>(stream, to.all(), rstd.data(), from.all(), weight.data(), 1e-5f);
  stream.wait();
  cpu().rmsnorm_forward(dense(expected.data(), kTail, kHidden), scale.data(), dense(x_host.data(), kTail, kHidden),
                        w.data(), 1e-5f);
  compare("rmsnorm", to.tail_values(), expected, kRounded);
}

// The logits of 17,000 labelled tokens at once are more than 2^31 values.
void head() {
  const Stream stream;
  constexpr int64_t kRows = 17000;
  const std::vector<float> z = random_values<float>(kTail * kVocabulary, 4);
  const std::vector<int32_t> labels(kRows, static_cast<int32_t>(kVocabulary - 1));
  const Tall<float> logits(kRows, kVocabulary);
  const Tall<bf16> gradient(kRows, kVocabulary);
  const Device<RowSoftmax> state(kRows);
  const Device<int32_t> at(labels);
  logits.set_tail(z);
  cross_entropy_scan<float>(stream, state.data(), logits.all(), at.data(), 0);
  cross_entropy_gradient<float, bf16>(stream, gradient.all(), logits.all(), state.data(), at.data(), 0);
  stream.wait();
  RowSoftmax row{};
  std::vector<float> expected(z.size());
  cpu().cross_entropy_scan(&row, dense(z.data(), kTail, kVocabulary), labels.data(), 0);
  cpu().cross_entropy_gradient(dense(expected.data(), kTail, kVocabulary), dense(z.data(), kTail, kVocabulary), &row,
                               labels.data(), 0);
  compare("cross-entropy of 17000 tokens", gradient.tail_values(), expected, kRounded);
}

// gate_proj of 8B, and an embedding of 128,256 rows.
void weights() {
  const Stream stream;
  constexpr int64_t kRows = 14336 * 16, kCols = 14336, kBlocks = kRows * kCols / 64;  // 3.3e9 values
  const std::vector<float> values = random_values<float>(kTail * kCols);
  std::vector<uint8_t> codes(static_cast<size_t>(kTail * kCols / 2));
  std::vector<float> absmax(static_cast<size_t>(kTail * kCols / 64)), expected(values.size());
  cpu().nf4_quantize(codes.data(), absmax.data(), values.data(), kTail * kCols, 64);
  Nf4Tensor t{};
  t.codes = codes.data();
  t.absmax = absmax.data();
  t.count = kTail * kCols;
  t.block = 64;
  cpu().nf4_dequantize(expected.data(), t, 0, t.count);
  for (float& value : expected) value = static_cast<float>(static_cast<bf16>(value));
  const Tall<uint8_t> all_codes(kRows, kCols / 2);
  const Tall<float> all_absmax(kRows, kCols / 64);
  const Tall<bf16> to(kRows, kCols);
  const Device<float> code(std::vector<float>(kNf4Code, kNf4Code + 16));
  all_codes.set_tail(codes);
  all_absmax.set_tail(absmax);
  t.codes = all_codes.data();
  t.absmax = all_absmax.data();
  t.code = t.absmax_map = code.data();  // scales are plain: no map is read
  t.count = kBlocks * 64;
  nf4_dequantize<bf16>(stream, to.all(), t, 0);
  stream.wait();
  compare("nf4 dequantise of 3.3e9 values", to.tail_values(), expected, 0);

  const std::vector<float> x = random_values<float>(kCols);
  const Device<float> input(x), output(kRows);
  few_rows_matmul<float>(stream, {output.data(), 1, kRows, kRows}, {input.data(), 1, kCols, kCols},
                         {nullptr, Format::kF32, t, kRows, kCols}, 0);
  stream.wait();
  float last = 0, sum = 0;
  expect(cudaMemcpy(&last, output.data() + kRows - 1, sizeof last, cudaMemcpyDeviceToHost));
  cpu().nf4_dequantize(expected.data(), {codes.data(), absmax.data(), nullptr, nullptr, 0, kCols, 64}, 0, kCols);
  for (size_t c = 0; c < x.size(); ++c) sum += x[c] * expected[c];
  compare("few rows of 3.3e9 values", {last}, {sum}, 1e-4);
}

void training() {
  const Stream stream;
  constexpr int64_t kRank = 32, kParameters = 48627712;
  const Tall<bf16> x(kTokens, kFfn), dx(kTokens, kFfn), y(kTokens, kHidden), h(kTokens, kRank);
  const Device<float> a(kRank * kFfn), b(kHidden * kRank), da(kRank * kFfn), db(kHidden * kRank);
  const Device<uint32_t> step(1), ordinal(kTokens), position(kTokens);
  const Device<uint8_t> room(static_cast<size_t>(lora_backward_scratch(kTokens, kFfn, kHidden, kRank)));
  const LoraWeights w{a.data(), b.data(), kRank, 0.5f};
  const Dropout dropout{0.05f, philox_key(1, 27, 6), step.data(), ordinal.data(), position.data()};
  lora_forward<bf16>(stream, y.all(), h.all(), x.all(), w, dropout);
  lora_backward<bf16>(stream, dx.all(), da.data(), db.data(), y.all(), x.all(), h.all(), w, dropout, room.data());
  const Device<float> parameters(kParameters), gradients(kParameters), first(kParameters), second(kParameters);
  const Device<GradientNorm> norm(1);
  const Device<double> parts(kNormParts);
  gradient_norm(stream, norm.data(), gradients.data(), kParameters / 16, 1, parts.data());
  adamw_update(stream, parameters.data(), gradients.data(), first.data(), second.data(), kParameters, norm.data(),
               {1e-4, 1, 1, 0.9, 0.999, 1e-8, 0, 1});
  stream.wait();
  report("at its true shape: lora and adamw of 3B", "");
}

void attention() {
  const Stream stream;
  const AttentionShape shape{24, 8, 128};
  constexpr int64_t kDocument = 512, kWidth = kHidden + 2048;
  std::vector<int32_t> first, last;
  for (int64_t r = 0; r < kTokens; ++r) {
    first.push_back(static_cast<int32_t>(r / kDocument * kDocument));
    last.push_back(first.back() + static_cast<int32_t>(kDocument));
  }
  const Tall<bf16> qkv(kTokens, kWidth), dqkv(kTokens, kWidth), out(kTokens, kHidden), dout(kTokens, kHidden);
  const Device<float> lse(kTokens * 24), room(kTokens * 24);
  const Device<int32_t> begin(first), end(last);
  const View<const bf16> from = qkv.all();
  expect(cudaMemset(qkv.data() + (kTokens - kDocument) * kWidth, 0, kDocument * kWidth * sizeof(bf16)));
  const AttentionInput<bf16> in{columns_of(from, 0, kHidden), columns_of(from, kHidden, 1024),
                                columns_of(from, kHidden + 1024, 1024)};
  attention_forward<bf16>(stream, out.all(), lse.data(), in, {begin.data(), end.data()}, shape);
  attention_backward<bf16>(stream, in, columns_of(dqkv.all(), 0, kHidden), columns_of(dqkv.all(), kHidden, 1024),
                           columns_of(dqkv.all(), kHidden + 1024, 1024), dout.all(), out.all(), lse.data(),
                           {begin.data(), end.data()}, shape, room.data());
  stream.wait();
  // Every score of the last document is 0: the first head of its last row weighs its keys alike.
  float last_lse = 0;
  expect(cudaMemcpy(&last_lse, lse.data() + (kTokens - 1) * 24, sizeof last_lse, cudaMemcpyDeviceToHost));
  compare("attention of 3B", {last_lse}, {std::log(512.0f)}, kReordered);
}

}  // namespace

void large_cases() {
  emulated_cuda::set_memory(size_t{80} << 30);
  emulated_cuda::set_sparse(1);
  elementwise();
  head();
  weights();
  training();
  attention();
  emulated_cuda::set_sparse(0);
}

}  // namespace humanizer::cuda
