// NF4, the formats of files, embedding and the product of few rows.
#include <cstring>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

const Backend& cpu() { return cpu_backend(); }

std::vector<float> table(const float* values, size_t count) { return {values, values + count}; }

// One quantised matrix, the host's view of it and the device's.
struct Quantized {
  std::vector<uint8_t> codes, absmax_code;
  std::vector<float> absmax, scale;
  Nf4Tensor host{};

  Quantized(const std::vector<float>& values, int64_t block, bool twice) {
    const auto count = static_cast<int64_t>(values.size());
    const int64_t blocks = (count + block - 1) / block;
    codes.resize(static_cast<size_t>((count + 1) / 2));
    absmax.resize(static_cast<size_t>(blocks));
    cpu().nf4_quantize(codes.data(), absmax.data(), values.data(), count, block);
    host.codes = codes.data();
    host.count = count;
    host.block = block;
    if (!twice) {
      host.absmax = absmax.data();
      return;
    }
    absmax_code.resize(absmax.size());
    scale.resize((absmax.size() + kAbsmaxGroup - 1) / kAbsmaxGroup);
    host.offset = cpu().nf4_quantize_absmax(absmax_code.data(), scale.data(), absmax.data(), blocks);
    host.absmax_code = absmax_code.data();
    host.absmax_scale = scale.data();
  }
};

struct OnDevice {
  Device<uint8_t> codes, absmax_code;
  Device<float> absmax, scale, code, map;
  Nf4Tensor tensor{};

  explicit OnDevice(const Quantized& q)
      : codes(q.codes),
        absmax_code(q.absmax_code.empty() ? std::vector<uint8_t>(1) : q.absmax_code),
        absmax(q.absmax),
        scale(q.scale.empty() ? std::vector<float>(1) : q.scale),
        code(table(kNf4Code, 16)),
        map(table(kDynamicCode, 256)) {
    tensor = q.host;
    tensor.codes = codes.data();
    tensor.absmax = q.host.absmax ? absmax.data() : nullptr;
    tensor.absmax_code = q.host.absmax ? nullptr : absmax_code.data();
    tensor.absmax_scale = q.host.absmax ? nullptr : scale.data();
    tensor.code = code.data();
    tensor.absmax_map = map.data();
  }
};

template <class T>
void quantize(int64_t count, int64_t block) {
  std::vector<T> values = random_values<T>(count);
  for (int64_t i = 0; i < std::min<int64_t>(block, count); ++i) values[static_cast<size_t>(i)] = static_cast<T>(0.0f);
  if (count > 2 * block) values[static_cast<size_t>(2 * block)] = static_cast<T>(NAN);
  if (count > 3 * block) values[static_cast<size_t>(3 * block)] = static_cast<T>(INFINITY);
  const int64_t blocks = (count + block - 1) / block;
  std::vector<uint8_t> codes(static_cast<size_t>((count + 1) / 2));
  std::vector<float> absmax(static_cast<size_t>(blocks));
  cpu().nf4_quantize(codes.data(), absmax.data(), floats(values).data(), count, block);
  std::vector<float> expected = floats(codes);
  expected.insert(expected.end(), absmax.begin(), absmax.end());
  check(named("nf4 quantise has the bits", name_of<T>(), {count, block}), expected, 0, [&](cudaStream_t stream) {
    const Device<T> from(values);
    const Device<uint8_t> to(codes.size());
    const Device<float> largest(absmax.size());
    nf4_quantize<T>(stream, to.data(), largest.data(), from.data(), count, block);
    expect(cudaStreamSynchronize(stream));
    std::vector<float> got = floats(to.values());
    const std::vector<float> scales = largest.values();
    got.insert(got.end(), scales.begin(), scales.end());
    return got;
  });
}

// The mean is f64 in another order: an offset of the same f32 unless the sum lies on a boundary, which these do not.
void quantize_absmax(int64_t blocks) {
  const std::vector<float> absmax = random_values<float>(blocks, 3);
  std::vector<uint8_t> codes(absmax.size());
  std::vector<float> scale((absmax.size() + kAbsmaxGroup - 1) / kAbsmaxGroup);
  const float offset = cpu().nf4_quantize_absmax(codes.data(), scale.data(), absmax.data(), blocks);
  std::vector<float> expected = floats(codes);
  expected.insert(expected.end(), scale.begin(), scale.end());
  expected.push_back(offset);
  check(named("double quantisation has the bits", "f32", {blocks}), expected, 0, [&](cudaStream_t stream) {
    const Device<float> from(absmax), to_scale(scale.size()), to_offset(1), map(table(kDynamicCode, 256));
    const Device<uint8_t> to(codes.size());
    nf4_quantize_absmax(stream, to.data(), to_scale.data(), to_offset.data(), from.data(), blocks, map.data());
    expect(cudaStreamSynchronize(stream));
    std::vector<float> got = floats(to.values());
    for (const Device<float>* more : {&to_scale, &to_offset}) {
      const std::vector<float> next = more->values();
      got.insert(got.end(), next.begin(), next.end());
    }
    return got;
  });
}

// Rows [first, rows) of the matrix, `apart` values between the rows of the result.
template <class T>
void dequantize(int64_t rows, int64_t cols, int64_t first, int64_t apart, int64_t block, bool twice) {
  const Quantized q(random_values<float>(rows * cols), block, twice);
  std::vector<float> all(static_cast<size_t>(rows * cols)), expected;
  cpu().nf4_dequantize(all.data(), q.host, 0, rows * cols);
  const int64_t stride = cols + apart;
  for (int64_t r = first; r < rows; ++r) {
    const auto row = all.begin() + r * cols;
    expected.insert(expected.end(), row, row + cols);
    expected.insert(expected.end(), static_cast<size_t>(apart), 7.0f);
  }
  for (float& value : expected) value = static_cast<float>(static_cast<T>(value));
  check(named(twice ? "nf4 dequantise twice has the bits" : "nf4 dequantise has the bits", name_of<T>(),
              {rows - first, cols, apart, block}),
        expected, 0, [&](cudaStream_t stream) {
          const OnDevice d(q);
          const Device<T> to(std::vector<T>(expected.size(), static_cast<T>(7.0f)));
          nf4_dequantize<T>(stream, {to.data(), rows - first, cols, stride}, d.tensor, first * cols);
          expect(cudaStreamSynchronize(stream));
          return to.values();
        });
}

// Random blocks whose scales are ordinary numbers.
std::vector<uint8_t> stored(Format format, int64_t count) {
  const FormatSize size = format_size(format);
  if (format == Format::kF32) {
    const std::vector<float> values = random_values<float>(count);
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    return {bytes, bytes + count * 4};
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(count / size.values * size.bytes));
  std::uniform_int_distribution<int> uniform(0, 255);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(uniform(generator));
  // f16 and bf16 alike: an exponent near that of 1 but for small and subnormal ones of f16.
  const auto scale_at = [&](int64_t at) {
    bytes[static_cast<size_t>(at + 1)] = static_cast<uint8_t>(uniform(generator) % 64);
  };
  for (int64_t b = 0; b < count / size.values; ++b) {
    scale_at(b * size.bytes + (format == Format::kQ6_K ? 208 : 0));
    if (format == Format::kQ4_1) scale_at(b * size.bytes + 2);
  }
  return bytes;
}

constexpr Format kFormats[] = {Format::kF32,  Format::kF16,  Format::kBF16, Format::kQ8_0,
                               Format::kQ4_0, Format::kQ4_1, Format::kQ6_K};

template <class T>
void formats(int64_t rows, int64_t cols) {
  for (const Format format : kFormats) {
    const std::vector<uint8_t> blocks = stored(format, rows * cols);
    std::vector<float> expected(static_cast<size_t>(rows * cols));
    cpu().decode(expected.data(), blocks.data(), rows * cols, format);
    const std::vector<int32_t> tokens = random_integers(5, static_cast<int32_t>(rows));
    std::vector<float> gathered;
    for (const int32_t token : tokens) {
      gathered.insert(gathered.end(), expected.begin() + token * cols, expected.begin() + (token + 1) * cols);
    }
    for (std::vector<float>* values : {&expected, &gathered})
      for (float& value : *values) value = static_cast<float>(static_cast<T>(value));
    const auto number = static_cast<int64_t>(format);
    check(named("format has the bits", name_of<T>(), {number, rows, cols}), expected, 0, [&](cudaStream_t stream) {
      const Device<uint8_t> from(blocks);
      const Device<T> to(expected.size());
      decode<T>(stream, view(to, rows, cols), from.data(), format);
      expect(cudaStreamSynchronize(stream));
      return to.values();
    });
    check(named("embedding has the bits", name_of<T>(), {number, rows, cols}), gathered, 0, [&](cudaStream_t stream) {
      const Device<uint8_t> from(blocks);
      const Device<int32_t> at(tokens);
      const Device<T> to(gathered.size());
      embedding<T>(stream, view(to, 5, cols), HeldMatrix{from.data(), format, {}, rows, cols}, at.data());
      expect(cudaStreamSynchronize(stream));
      return to.values();
    });
  }
}

template <class T>
void few_rows(int64_t rows, int64_t in, int64_t out, float beta, Format format, int64_t block) {
  const std::vector<T> x = random_values<T>(rows * in), y = random_values<T>(rows * out);
  const bool nf4 = block > 0;
  const Quantized q(nf4 ? random_values<float>(out * in) : std::vector<float>(2, 1.0f), nf4 ? block : 2, nf4);
  const std::vector<uint8_t> blocks = nf4 ? std::vector<uint8_t>(1) : stored(format, out * in);
  HeldMatrix w{blocks.data(), format, nf4 ? q.host : Nf4Tensor{}, out, in};
  std::vector<float> scratch(static_cast<size_t>(64 * few_rows_tile(w) * in)), expected = floats(y);
  cpu().open_stream(1);
  const std::vector<float> x_host = floats(x);
  cpu().few_rows_matmul(dense(expected.data(), rows, out), dense(x_host.data(), rows, in), w, beta, scratch.data());
  check(named(nf4 ? "few rows of nf4" : "few rows", name_of<T>(),
              {rows, in, out, static_cast<int64_t>(beta), nf4 ? block : static_cast<int64_t>(format)}),
        expected, bound_of<T>(), [&](cudaStream_t stream) {
          const OnDevice d(q);
          const Device<uint8_t> from(blocks);
          const Device<T> input(x), to(y);
          few_rows_matmul<T>(stream, view(to, rows, out), view(input, rows, in),
                             HeldMatrix{from.data(), format, nf4 ? d.tensor : Nf4Tensor{}, out, in}, beta);
          expect(cudaStreamSynchronize(stream));
          return to.values();
        });
}

template <class T>
void both_types() {
  quantize<T>(1, 64);
  quantize<T>(64 * 9 + 3, 64);
  quantize<T>(1000, 96);
  quantize<T>(50, 2);
  for (const bool twice : {false, true}) {
    dequantize<T>(3, 64, 0, 0, 64, twice);
    dequantize<T>(9, 1032, 4, 32, 64, twice);  // rows that begin inside a block
    dequantize<T>(5, 36, 1, 0, 6, twice);
    dequantize<T>(7, 33, 2, 1, 64, twice);
  }
  dequantize<T>(260, 64, 0, 0, 64, true);  // more than one group of scales
  formats<T>(3, 512);
  few_rows<T>(1, 64, 3, 0, Format::kF32, 64);
  few_rows<T>(8, 512, 21, 1, Format::kF32, 64);
  few_rows<T>(5, 296, 9, 0, Format::kF32, 64);
  few_rows<T>(3, 33, 5, 1, Format::kF32, 64);
  few_rows<T>(2, 1, 1, 0, Format::kF32, 4);
  for (const Format format : kFormats) few_rows<T>(3, 256, 5, 0, format, 0);
  few_rows<T>(6, 1032, 9, 1, Format::kBF16, 0);
  few_rows<T>(2, 31, 7, 0, Format::kBF16, 0);
}

}  // namespace

void weight_cases() {
  generator.seed(5);
  both_types<float>();
  both_types<bf16>();
  quantize_absmax(1);
  quantize_absmax(700);
}

}  // namespace humanizer::cuda
