#include "weight.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.h"

namespace humanizer {

namespace {

constexpr int64_t kLargestTensor = int64_t{1} << 48;  // bytes as f32; every size below it fits its type

int64_t row_bytes(const TensorSource& source) {
  const FormatSize size = format_size(source.format);
  return source.shape.back() / size.values * size.bytes;
}

int64_t row_count(const TensorSource& source) { return source.shape.size() == 2 ? source.shape[0] : 1; }

// What unpermute_heads is about: the rows of a matrix, or the values of their bias.
int64_t rows_of_heads(const TensorSource& source) { return source.shape[0]; }

void check(const TensorSource& source) {
  const auto refuse = [&](const std::string& why) { throw Error(Code::kDataInvalid, "tensor " + source.name + why); };
  if (source.nf4) refuse(" is saved in 4 bits; expected 16 or 32: only linear layers are read so");
  const FormatSize size = format_size(source.format);
  if (source.shape.empty() || source.shape.size() > 2 || source.shape.back() % size.values != 0) {
    refuse(": its last dimension must be a multiple of " + std::to_string(size.values));
  }
  int64_t f32_bytes = sizeof(float);
  for (const int64_t extent : source.shape) {
    if (extent < 1 || __builtin_mul_overflow(f32_bytes, extent, &f32_bytes) || f32_bytes > kLargestTensor) {
      refuse(": a dimension of " + std::to_string(extent) + " is too large or too small");
    }
  }
  const int64_t expected = row_count(source) * row_bytes(source);
  if (source.bytes != expected) {
    refuse(" has " + std::to_string(source.bytes) + " bytes, its shape needs " + std::to_string(expected));
  }
  if (source.unpermute_heads == 0) return;
  if (source.shape.size() == 1 && size.values != 1) refuse(": the values of a bias in blocks cannot change places");
  if (source.unpermute_heads < 0 || source.unpermute_heads > rows_of_heads(source) ||
      rows_of_heads(source) % (source.unpermute_heads * 2) != 0) {
    refuse(": " + std::to_string(rows_of_heads(source)) + " rows are not " + std::to_string(source.unpermute_heads) +
           " heads of even size");
  }
}

// The bytes of one tensor in its file: opened, and long enough, before memory is taken for what the header claims.
class TensorFile {
 public:
  explicit TensorFile(const TensorSource& source)
      : source_(source), descriptor_(open(source.file.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) throw Error(Code::kDataInvalid, "cannot open " + source.file + ": " + std::strerror(errno));
    const off_t size = lseek(descriptor_, 0, SEEK_END);
    if (source.offset < 0 || source.offset > size || source.bytes > size - source.offset) {
      close(descriptor_);
      ends_early(source.bytes - std::clamp<int64_t>(size - std::max<int64_t>(source.offset, 0), 0, source.bytes));
    }
  }
  ~TensorFile() { close(descriptor_); }
  TensorFile(const TensorFile&) = delete;

  // The bytes [begin, end) of the tensor.
  void read(uint8_t* out, int64_t begin, int64_t end) const {
    for (int64_t done = begin; done < end;) {
      const ssize_t got = pread(descriptor_, out + done, static_cast<size_t>(end - done), source_.offset + done);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0)
        throw Error(Code::kDataInvalid, "tensor " + source_.name + ": " + source_.file + ": " + std::strerror(errno));
      if (got == 0) ends_early(source_.bytes - done);
      done += got;
    }
  }

 private:
  [[noreturn]] void ends_early(int64_t bytes) const {
    throw Error(Code::kDataInvalid,
                "tensor " + source_.name + ": " + source_.file + " ends " + std::to_string(bytes) + " bytes too early");
  }

  const TensorSource& source_;
  int descriptor_;
};

void read_bytes(const TensorSource& source, const TensorFile& file, uint8_t* out) {
  constexpr int64_t kPart = 1 << 20;  // is still in the cache when it is checked
  const int64_t block = format_size(source.format).bytes, part = kPart / block * block;
  for (int64_t begin = 0; begin < source.bytes; begin += part) {
    const int64_t end = std::min(begin + part, source.bytes);
    file.read(out, begin, end);
    if (!all_finite(out + begin, end - begin, source.format)) {
      throw Error(Code::kDataInvalid, "tensor " + source.name + " has a value that is no finite number");
    }
  }
}

// Row j * half + i of a head is at i * 2 + j in the file.
void unpermute(const TensorSource& source, uint8_t* rows) {
  const int64_t heads = source.unpermute_heads;
  if (heads == 0) return;
  const int64_t unit = source.shape.size() == 1 ? format_size(source.format).bytes : row_bytes(source);
  const int64_t size = rows_of_heads(source) / heads, half = size / 2;
  std::vector<uint8_t> head(static_cast<size_t>(size * unit));
  for (int64_t h = 0; h < heads; ++h) {
    uint8_t* base = rows + h * size * unit;
    std::copy(base, base + size * unit, head.begin());
    for (int64_t row = 0; row < size; ++row) {
      const int64_t from = row % half * 2 + row / half;
      std::memcpy(base + row * unit, head.data() + from * unit, static_cast<size_t>(unit));
    }
  }
}

}  // namespace

Weight Weight::stored(const Backend&, Account& account, const TensorSource& source) {
  check(source);
  const TensorFile file(source);
  Weight weight;
  weight.rows_ = row_count(source);
  weight.cols_ = source.shape.back();
  weight.format_ = source.format;
  Filling bytes(account, static_cast<size_t>(source.bytes));
  read_bytes(source, file, bytes.data());
  unpermute(source, bytes.data());
  weight.stored_ = bytes.done();
  return weight;
}

Weight Weight::saved_nf4(Account& account, const TensorSource& source) {
  const Nf4Source& saved = *source.nf4;
  constexpr int64_t kFloat = sizeof(float);
  Weight weight;
  Nf4Tensor& nf4 = weight.nf4_;
  if (source.shape.size() != 2 || source.shape[0] < 1 || source.shape[1] < 1 ||
      __builtin_mul_overflow(source.shape[0], source.shape[1], &nf4.count) || nf4.count > kLargestTensor / kFloat ||
      saved.block < 2 || saved.block % 2 != 0) {
    throw Error(Code::kDataInvalid, "tensor " + source.name + ": expected two sizes and an even block");
  }
  weight.rows_ = source.shape[0];
  weight.cols_ = source.shape[1];
  nf4.block = saved.block;
  const int64_t blocks = nf4.blocks(), groups = (blocks + kAbsmaxGroup - 1) / kAbsmaxGroup;

  const auto part = [&](const std::string& name, const FilePart& at, int64_t bytes) {
    TensorSource of{source.name + name, at.file, Format::kF32, {bytes}, at.offset, at.bytes, 0};
    if (at.bytes != bytes) {
      throw Error(Code::kDataInvalid, "tensor " + of.name + " has " + std::to_string(at.bytes) + " bytes, expected " +
                                          std::to_string(bytes));
    }
    return of;
  };
  const auto floats = [&](uint8_t* out, const std::string& name, const FilePart& at, int64_t count) {
    const TensorSource of = part(name, at, count * kFloat);
    read_bytes(of, TensorFile(of), out);
  };
  const auto filled_with = [&](Buffer& out, const std::string& name, const FilePart& at, int64_t count) {
    Filling filling(account, static_cast<size_t>(count * kFloat));
    floats(filling.data(), name, at, count);
    out = filling.done();
  };
  const auto bytes = [&](Buffer& out, const std::string& name, const FilePart& at, int64_t count) {
    const TensorSource of = part(name, at, count);
    const TensorFile file(of);
    Filling filling(account, static_cast<size_t>(count));
    file.read(filling.data(), 0, count);
    out = filling.done();
  };

  bytes(weight.codes_, "", {source.file, source.offset, source.bytes}, (nf4.count + 1) / 2);
  nf4.codes = weight.codes_.as<uint8_t>();
  Filling maps(account, (16 + 256) * kFloat);
  floats(maps.data(), ".quant_map", saved.map, 16);
  if (saved.nested) floats(maps.data() + 16 * kFloat, ".nested_quant_map", saved.nested_map, 256);
  weight.maps_ = maps.done();
  nf4.code = weight.maps_.as();
  if (!saved.nested) {
    filled_with(weight.absmax_, ".absmax", saved.absmax, blocks);
    nf4.absmax = weight.absmax_.as();
    return weight;
  }
  bytes(weight.absmax_, ".absmax", saved.absmax, blocks);
  nf4.absmax_code = weight.absmax_.as<uint8_t>();
  filled_with(weight.absmax_scale_, ".nested_absmax", saved.nested_absmax, groups);
  nf4.absmax_scale = weight.absmax_scale_.as();
  nf4.absmax_map = weight.maps_.as() + 16;
  nf4.offset = saved.nested_offset;
  return weight;
}

Weight Weight::quantized(const Backend& backend, Account& account, const TensorSource& source,
                         const Quantization& how) {
  const Weight plain = stored(backend, account, source);
  Weight weight;
  weight.rows_ = plain.rows_;
  weight.cols_ = plain.cols_;
  Nf4Tensor& nf4 = weight.nf4_;
  nf4.count = plain.rows_ * plain.cols_;
  nf4.block = how.block;
  const int64_t blocks = nf4.blocks();
  Buffer values;
  const float* f32 = plain.stored_.as();
  if (plain.format_ != Format::kF32) {
    values = Buffer(account, static_cast<size_t>(nf4.count) * sizeof(float), false);
    backend.decode(values.as(), plain.stored_.as<uint8_t>(), nf4.count, plain.format_);
    f32 = values.as();
  }
  weight.codes_ = Buffer(account, static_cast<size_t>((nf4.count + 1) / 2), false);
  nf4.codes = weight.codes_.as<uint8_t>();
  Buffer absmax(account, static_cast<size_t>(blocks) * sizeof(float));
  backend.nf4_quantize(nf4.codes, absmax.as(), f32, nf4.count, how.block);
  if (how.double_quantization) {
    weight.absmax_ = Buffer(account, static_cast<size_t>(blocks));
    weight.absmax_scale_ =
        Buffer(account, static_cast<size_t>((blocks + kAbsmaxGroup - 1) / kAbsmaxGroup) * sizeof(float));
    nf4.absmax_code = weight.absmax_.as<uint8_t>();
    nf4.absmax_scale = weight.absmax_scale_.as();
    nf4.offset = backend.nf4_quantize_absmax(nf4.absmax_code, nf4.absmax_scale, absmax.as(), blocks);
  } else {
    weight.absmax_ = std::move(absmax);
    nf4.absmax = weight.absmax_.as();
  }
  return weight;
}

ConstRows Weight::decode(const Backend& backend, int64_t begin, int64_t rows, float* scratch) const {
  const int64_t width = backend.activation_bytes;
  const HeldMatrix part = held(begin, rows);
  const Format as_is = width == sizeof(float) ? Format::kF32 : Format::kBF16;
  if (!nf4_.codes && format_ == as_is) return dense(reinterpret_cast<const float*>(part.stored), rows, cols_, width);
  const Rows decoded = dense(scratch, nf4_.codes ? rows_ : rows, cols_, width);
  backend.decode_held(decoded, part);
  return decoded;
}

HeldMatrix Weight::held(int64_t begin, int64_t rows) const {
  if (nf4_.codes) return held();
  const FormatSize size = format_size(format_);
  return {stored_.as<uint8_t>() + begin * (cols_ / size.values * size.bytes), format_, {}, rows, cols_};
}

void Weight::decode_into(const Backend& backend, float* scratch) const {
  const ConstRows decoded = decode(backend, 0, rows_, scratch);
  if (decoded.data == scratch) return;
  backend.memory.copy(scratch, decoded.data, static_cast<size_t>(rows_ * cols_ * decoded.width));
}

std::vector<float> read_values(const Backend& backend, const TensorSource& source) {
  if (source.nf4) {
    Account account;
    const Weight weight = Weight::saved_nf4(account, source);
    std::vector<float> values(static_cast<size_t>(weight.rows() * weight.cols()));
    weight.decode_into(backend, values.data());
    return values;
  }
  check(source);
  const TensorFile file(source);
  std::vector<uint8_t> bytes(static_cast<size_t>(source.bytes));
  read_bytes(source, file, bytes.data());
  unpermute(source, bytes.data());
  std::vector<float> values(static_cast<size_t>(source.shape.back() * row_count(source)));
  backend.decode(values.data(), bytes.data(), static_cast<int64_t>(values.size()), source.format);
  return values;
}

}  // namespace humanizer
