// Products with frozen matrices as they are held: of few rows, and with bf16 factors.
#include <bit>

#include "cases.h"

namespace humanizer {

namespace {

void few_rows(const Backend& b, int threads, int64_t rows, int64_t in, int64_t out, bool nf4) {
  Guarded w = Guarded::random(out * in), x = Guarded::random(rows * in), y = Guarded::random(rows * out),
          decoded(out * in);
  std::vector<uint8_t> codes(static_cast<size_t>((out * in + 1) / 2));
  Guarded absmax((out * in + 63) / 64);
  HeldMatrix held{reinterpret_cast<const uint8_t*>(w.data()), Format::kF32, {}, out, in};
  std::ranges::copy(w.span(), decoded.data());
  if (nf4) {
    b.nf4_quantize(codes.data(), absmax.data(), w.data(), out * in, 64);
    held.nf4 = {codes.data(), absmax.data(), nullptr, nullptr, 0, out * in, 64};
    b.nf4_dequantize(decoded.data(), held.nf4, 0, out * in);
  }
  Guarded expected(rows * out), scratch(threads * few_rows_tile(held) * in);
  std::ranges::copy(y.span(), expected.data());
  matmul(dense(expected.data(), rows, out), dense(x.data(), rows, in), dense(decoded.data(), out, in), Transpose::kNT,
         1, 1);
  b.few_rows_matmul(dense(y.data(), rows, out), dense(x.data(), rows, in), held, 1, scratch.data());
  report(named(b, nf4 ? "a few rows by NF4" : "a few rows by F32", {rows, in, out}),
         relative_error(y.span(), expected.span()), kReordered, y.intact() && scratch.intact());
}

float to_bf16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return std::bit_cast<float>((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
}

// Against f32 sums of the rounded factors, whose products are exact. The first row alone has the same bits.
void bf16_product(const Backend& b, int threads, int64_t rows, int64_t in, int64_t out, bool nf4, Transpose transpose) {
  const bool by_rows = transpose == Transpose::kNT;
  const int64_t depth = by_rows ? in : out, width = by_rows ? out : in;
  Guarded w = Guarded::random(out * in), x = Guarded::random(rows * depth), y = Guarded::random(rows * width),
          decoded(out * in), alone(width);
  std::vector<uint8_t> codes(static_cast<size_t>((out * in + 1) / 2));
  Guarded absmax((out * in + 63) / 64);
  HeldMatrix held{reinterpret_cast<const uint8_t*>(w.data()), Format::kF32, {}, out, in};
  std::ranges::copy(w.span(), decoded.data());
  if (nf4) {
    b.nf4_quantize(codes.data(), absmax.data(), w.data(), out * in, 64);
    held.nf4 = {codes.data(), absmax.data(), nullptr, nullptr, 0, out * in, 64};
    b.nf4_dequantize(decoded.data(), held.nf4, 0, out * in);
  }
  Guarded expected(rows * width), rounded(rows * depth), scratch(bf16_scratch(threads, &held, 1));
  std::ranges::copy(y.span(), expected.data());
  std::ranges::transform(x.span(), rounded.data(), to_bf16);
  std::ranges::transform(decoded.span(), decoded.data(), to_bf16);
  matmul(dense(expected.data(), rows, width), dense(rounded.data(), rows, depth), dense(decoded.data(), out, in),
         transpose, 1, 1);
  std::copy(y.data(), y.data() + width, alone.data());
  b.bf16_matmul(dense(alone.data(), 1, width), dense(x.data(), 1, depth), &held, 1, transpose, 1, scratch.data());
  b.bf16_matmul(dense(y.data(), rows, width), dense(x.data(), rows, depth), &held, 1, transpose, 1, scratch.data());
  const char* op = nf4 ? (by_rows ? "x W^T in bf16 by NF4" : "x W in bf16 by NF4")
                       : (by_rows ? "x W^T in bf16 by F32" : "x W in bf16 by F32");
  report(named(b, op, {rows, in, out}), relative_error(y.span(), expected.span()), kReordered,
         y.intact() && alone.intact() && scratch.intact());
  report(named(b, op, {rows, in, out}) + " alone", std::equal(y.data(), y.data() + width, alone.data()) ? 0 : 1, 0);
}

// Matrices that read the same x beside the same one by one: y's columns to the bit, and their sum in another order.
void joined_bf16_product(const Backend& b, int threads, int64_t rows, int64_t in) {
  constexpr int64_t kParts[] = {67, 5, 33}, kOut = 67 + 5 + 33;
  Guarded w = Guarded::random(kOut * in), x = Guarded::random(rows * in), y(rows * kOut), alone(rows * kOut),
          dx(rows * in), summed = Guarded::zeros(rows * in);
  HeldMatrix parts[3];
  for (int64_t i = 0, begin = 0; i < 3; begin += kParts[i++]) {
    parts[i] = {reinterpret_cast<const uint8_t*>(w.data() + begin * in), Format::kF32, {}, kParts[i], in};
  }
  Guarded scratch(bf16_scratch(threads, parts, 3));
  const ConstRows columns_of_x = dense(x.data(), rows, in);
  b.bf16_matmul(dense(y.data(), rows, kOut), columns_of_x, parts, 3, Transpose::kNT, 0, scratch.data());
  b.bf16_matmul(dense(dx.data(), rows, in), dense(y.data(), rows, kOut), parts, 3, Transpose::kNN, 0, scratch.data());
  for (int64_t i = 0, begin = 0; i < 3; begin += kParts[i++]) {
    const Rows part = columns(dense(alone.data(), rows, kOut), begin, kParts[i]);
    b.bf16_matmul(part, columns_of_x, &parts[i], 1, Transpose::kNT, 0, scratch.data());
    b.bf16_matmul(dense(summed.data(), rows, in), part, &parts[i], 1, Transpose::kNN, 1, scratch.data());
  }
  const std::string name = named(b, "three products in bf16", {rows, in});
  report(name + ", side by side", std::ranges::equal(y.span(), alone.span()) ? 0 : 1, 0, y.intact() && alone.intact());
  report(name + ", summed", relative_error(dx.span(), summed.span()), kReordered, dx.intact() && scratch.intact());
}

// A matrix as a model holds it, with its values as the bf16 path rounds them and as they are.
struct HeldSample {
  HeldSample(const Backend& b, int64_t out, int64_t in, Format format, int64_t block)
      : stored(Guarded::random(out * in)),
        exact(out * in),
        rounded(out * in),
        absmax(block ? out * in / block + 1 : 0) {
    held = {reinterpret_cast<const uint8_t*>(stored.data()), format, {}, out, in};
    for (size_t i = 0; i < stored.span().size(); ++i) {
      const float value = format == Format::kBF16 ? to_bf16(stored.data()[i]) : stored.data()[i];
      bits.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
      exact[i] = rounded[i] = value;
    }
    if (format == Format::kBF16) held.stored = reinterpret_cast<const uint8_t*>(bits.data());
    if (!block) return;
    codes.resize(static_cast<size_t>((out * in + 1) / 2));
    absmax_code.resize(absmax.size());
    scale.resize(absmax.size() / 256 + 1);
    Nf4Tensor& nf4 = held.nf4;
    nf4 = {codes.data(), absmax.data(), nullptr, nullptr, 0, out * in, block};
    b.nf4_quantize(codes.data(), absmax.data(), stored.data(), out * in, block);
    nf4.offset = b.nf4_quantize_absmax(absmax_code.data(), scale.data(), absmax.data(), nf4.blocks());
    nf4.absmax = nullptr;
    nf4.absmax_code = absmax_code.data();
    nf4.absmax_scale = scale.data();
    b.nf4_dequantize(exact.data(), nf4, 0, out * in);
    std::transform(kNf4Code, kNf4Code + 16, code, to_bf16);
    Nf4Tensor as_rounded = nf4;
    as_rounded.code = code;
    b.nf4_dequantize(rounded.data(), as_rounded, 0, out * in);
  }
  HeldMatrix held;
  Guarded stored;
  std::vector<float> exact, rounded, absmax, scale;
  std::vector<uint8_t> codes, absmax_code;
  std::vector<uint16_t> bits;
  float code[16];
};

// Three matrices side by side. Against f32 sums of the rounded factors, whose products with an absmax are rounded once
// more; against f32 sums of the factors as they are, which err by 2^-9 each at most; and one row alone, which has the
// same bits.
void few_rows_in_bf16(const Backend& b, int threads, int64_t rows, int64_t in, int64_t block) {
  const HeldSample parts[3] = {
      {b, 37, in, Format::kF32, block}, {b, 5, in, Format::kBF16, 0}, {b, 6, in, Format::kF32, 0}};
  const HeldMatrix held[3] = {parts[0].held, parts[1].held, parts[2].held};
  const int64_t out = 37 + 5 + 6;
  Guarded x = Guarded::random(rows * in), rounded(rows * in), y = Guarded::random(rows * out), sums(rows * out),
          expected(rows * out), exact(rows * out), bound(rows * out), alone(out), magnitudes(rows * in);
  int64_t tile = 0;
  for (const HeldMatrix& w : held) tile = std::max(tile, few_rows_tile(w));
  Guarded scratch(threads * tile * in + few_rows_bf16_scratch(rows, in));
  std::ranges::copy(y.span(), expected.data());
  std::ranges::copy(y.span(), exact.data());
  std::ranges::fill(bound.span(), 0.0f);
  std::copy(y.data(), y.data() + out, alone.data());
  std::ranges::transform(x.span(), rounded.data(), to_bf16);
  std::ranges::transform(x.span(), magnitudes.data(), [](float v) { return std::fabs(v); });
  int64_t column = 0;
  for (const HeldSample& part : parts) {
    const bool by_codes = part.held.nf4.codes && in % 64 == 0 && block % 64 == 0;
    std::vector<float> factors = by_codes ? part.rounded : part.exact;
    if (!by_codes) std::ranges::transform(factors, factors.begin(), to_bf16);
    const ConstRows w = dense(part.exact.data(), part.held.rows, in);
    std::vector<float> size(part.exact.size());
    std::ranges::transform(part.exact, size.begin(), [](float v) { return std::fabs(v); });
    const auto product = [&](Guarded& to, ConstRows of, ConstRows with) {
      matmul(columns(dense(to.data(), rows, out), column, part.held.rows), of, with, Transpose::kNT, 1, 1);
    };
    product(exact, dense(x.data(), rows, in), w);
    product(bound, dense(magnitudes.data(), rows, in),
            dense(static_cast<const float*>(size.data()), part.held.rows, in));
    product(expected, dense(rounded.data(), rows, in),
            dense(static_cast<const float*>(factors.data()), part.held.rows, in));
    column += part.held.rows;
  }
  b.few_rows_bf16(dense(alone.data(), 1, out), dense(x.data(), 1, in), held, 3, 1, scratch.data());
  b.few_rows_bf16(dense(y.data(), rows, out), dense(x.data(), rows, in), held, 3, 1, scratch.data());
  double beyond = 0;
  for (size_t i = 0; i < y.span().size(); ++i) {
    const double error = std::fabs(static_cast<double>(y.data()[i]) - static_cast<double>(exact.data()[i]));
    beyond = std::max(beyond, error / static_cast<double>(bound.data()[i] + 1e-3f));
  }
  const std::string name = named(b, "a few rows in bf16", {rows, in, block});
  report(name, relative_error(y.span(), expected.span()), kReordered, y.intact() && scratch.intact());
  report(name + " beside f32", beyond, 0x1p-8);
  report(name + " alone", std::equal(y.data(), y.data() + out, alone.data()) ? 0 : 1, 0, alone.intact());
}

}  // namespace

void products(const Backend& b, int threads) {
  for (const bool held_as_nf4 : {false, true}) {
    few_rows(b, threads, 1, 576, 200, held_as_nf4);
    few_rows(b, threads, 3, 38, 701, held_as_nf4);
    few_rows(b, threads, 8, 2, 5, held_as_nf4);
  }
  for (const int64_t rows : {1, 3, 8, 23}) {
    if (!b.few_rows_bf16) continue;
    few_rows_in_bf16(b, threads, rows, 1088, 64);  // four chunks of codes and a run; scales of two groups side by side
    few_rows_in_bf16(b, threads, rows, 192, 256);  // a scale of more than one row
    few_rows_in_bf16(b, threads, rows, 100, 64);   // rows that are no whole number of blocks
  }
  if (b.bf16_matmul) {
    joined_bf16_product(b, threads, 15, 39);
    joined_bf16_product(b, threads, 300, 70);
  }
  for (const bool held_as_nf4 : {false, true}) {
    for (const Transpose transpose : {Transpose::kNT, Transpose::kNN}) {
      if (!b.bf16_matmul) continue;
      bf16_product(b, threads, 1, 1, 1, held_as_nf4, transpose);
      bf16_product(b, threads, 15, 38, 33, held_as_nf4, transpose);
      bf16_product(b, threads, 9, 577, 67, held_as_nf4, transpose);
      bf16_product(b, threads, 61, 1100, 1090, held_as_nf4, transpose);  // past what is summed at once
    }
  }
}

}  // namespace humanizer
