// Every operation of the CPU tables that this processor runs: gradients against central differences, instruction paths
// against each other, and constants against their publications. Sizes are odd; guard values surround every output.
// Prints "ok NAME" or "not ok NAME: WHY" for each case, for ops.test.ts.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <string>

#include "backend.h"
#include "cases.h"
#include "philox.h"
#include "vector_math.h"

using namespace humanizer;

namespace {

void rmsnorm(const Backend& b, int64_t rows, int64_t cols) {
  Guarded x = Guarded::random(rows * cols), w = Guarded::random(cols), dy = Guarded::random(rows * cols);
  Guarded y(rows * cols), again(rows * cols), rstd(rows), dx = Guarded::zeros(rows * cols);
  const auto forward = [&] {
    b.rmsnorm_forward(dense(y.data(), rows, cols), rstd.data(), dense(x.data(), rows, cols), w.data(), 1e-5f);
  };
  forward();
  b.rmsnorm_replay(dense(again.data(), rows, cols), rstd.data(), dense(x.data(), rows, cols), w.data());
  report(named(b, "rmsnorm replay has forward's bits", {rows, cols}),
         std::ranges::equal(y.span(), again.span()) ? 0 : 1, 0);
  b.rmsnorm_backward(dense(dx.data(), rows, cols), dense(dy.data(), rows, cols), dense(x.data(), rows, cols),
                     rstd.data(), w.data());
  const auto expected = differences(x.span(), [&] {
    forward();
    return weighted(y.span(), dy.span());
  });
  report(named(b, "rmsnorm", {rows, cols}), relative_error(dx.span(), expected), 4 * kDifference,
         y.intact() && dx.intact() && rstd.intact());
}

void swiglu(const Backend& b, int64_t rows, int64_t cols) {
  Guarded gu = Guarded::random(rows * 2 * cols, 3), dy = Guarded::random(rows * cols), y(rows * cols),
          dgu(rows * 2 * cols);
  const auto forward = [&] { b.swiglu_forward(dense(y.data(), rows, cols), dense(gu.data(), rows, 2 * cols)); };
  forward();
  b.swiglu_backward(dense(dgu.data(), rows, 2 * cols), dense(dy.data(), rows, cols), dense(gu.data(), rows, 2 * cols));
  const auto expected = differences(gu.span(), [&] {
    forward();
    return weighted(y.span(), dy.span());
  });
  report(named(b, "swiglu", {rows, cols}), relative_error(dgu.span(), expected), kDifference,
         y.intact() && dgu.intact());
}

void rope(const Backend& b, int64_t rows, int64_t heads, int64_t size) {
  Guarded x = Guarded::random(rows * heads * size), table(2 * rows * size);
  rope_table(table.data(), rope_frequencies(size, 10000, {}), 2 * rows);
  std::vector<int32_t> positions;
  for (int64_t r = 0; r < rows; ++r) positions.push_back(static_cast<int32_t>(2 * rows - 1 - r));
  const std::vector<float> before(x.span().begin(), x.span().end());
  b.rope(dense(x.data(), rows, heads * size), positions.data(), table.data(), size, false);
  const double moved = relative_error(x.span(), before);
  b.rope(dense(x.data(), rows, heads * size), positions.data(), table.data(), size, true);
  report(named(b, "rope turns, and its backward turns back", {rows, heads, size}),
         moved > 0.1 ? relative_error(x.span(), before) : 1, 1e-6, x.intact());
}

// Against the definitions, in f64 and in two passes; later blocks hold larger logits, so that the maximum moves.
void distribution(const Backend& b, int64_t rows, int64_t vocabulary) {
  const int64_t split = vocabulary / 3 + 1;
  Guarded z = Guarded::random(rows * vocabulary, 6);
  std::vector<int32_t> labels;
  for (int64_t r = 0; r < rows; ++r) {
    labels.push_back(static_cast<int32_t>((r * 7) % vocabulary));
    for (int64_t c = split; c < vocabulary; ++c) z.span()[static_cast<size_t>(r * vocabulary + c)] += 3;
  }
  std::vector<RowDistribution> found(static_cast<size_t>(rows));
  const Rows logits = dense(z.data(), rows, vocabulary);
  b.distribution_scan(found.data(), columns(logits, 0, split), labels.data(), 0);
  b.distribution_scan(found.data(), columns(logits, split, vocabulary - split), labels.data(), split);
  double error = 0;
  for (int64_t r = 0; r < rows; ++r) {
    double total = 0, mean = 0, variance = 0;
    for (int64_t c = 0; c < vocabulary; ++c) total += std::exp(static_cast<double>(logits.row(r)[c]));
    const auto log_p = [&](int64_t c) { return static_cast<double>(logits.row(r)[c]) - std::log(total); };
    for (int64_t c = 0; c < vocabulary; ++c) mean += std::exp(log_p(c)) * log_p(c);
    for (int64_t c = 0; c < vocabulary; ++c) variance += std::exp(log_p(c)) * (log_p(c) - mean) * (log_p(c) - mean);
    const RowDistribution& of = found[static_cast<size_t>(r)];
    const double log_total = std::log(of.total), first = of.first / of.total;
    const double label = static_cast<double>(of.target) - static_cast<double>(of.maximum) - log_total;
    error = std::max({error, std::fabs(label - log_p(labels[static_cast<size_t>(r)])) / (1 + std::fabs(label)),
                      std::fabs(first - log_total - mean) / (1 + std::fabs(mean)),
                      std::fabs(of.second / of.total - first * first - variance) / (1 + variance)});
  }
  // exp_approx is right to 2e-7, and so are sums of a thousand terms of one sign in f32 but for their rounding.
  report(named(b, "distribution", {rows, vocabulary}), error, 3e-6, z.intact());
}

void cross_entropy(const Backend& b, int64_t rows, int64_t vocabulary) {
  Guarded z = Guarded::random(rows * vocabulary, 4), work(rows * vocabulary);
  std::vector<int32_t> labels;
  for (int64_t r = 0; r < rows; ++r)
    labels.push_back(static_cast<int32_t>(generator() % static_cast<uint32_t>(vocabulary)));
  std::vector<RowSoftmax> softmax(static_cast<size_t>(rows));
  // In two blocks of the vocabulary.
  const int64_t sizes[] = {vocabulary / 2 + 1, vocabulary - vocabulary / 2 - 1};
  const ConstRows logits = dense(static_cast<const float*>(z.data()), rows, vocabulary);
  const auto loss = [&] {
    b.cross_entropy_scan(softmax.data(), columns(logits, 0, sizes[0]), labels.data(), 0);
    b.cross_entropy_scan(softmax.data(), columns(logits, sizes[0], sizes[1]), labels.data(), sizes[0]);
    double sum = 0;
    for (const RowSoftmax& row : softmax)
      sum += std::log(row.total) + static_cast<double>(row.maximum) - static_cast<double>(row.target);
    return sum;
  };
  const auto expected = differences(z.span(), loss);
  loss();
  const Rows dz = dense(work.data(), rows, vocabulary);
  b.cross_entropy_gradient(columns(dz, 0, sizes[0]), columns(logits, 0, sizes[0]), softmax.data(), labels.data(), 0);
  b.cross_entropy_gradient(columns(dz, sizes[0], sizes[1]), columns(logits, sizes[0], sizes[1]), softmax.data(),
                           labels.data(), sizes[0]);
  report(named(b, "cross entropy", {rows, vocabulary}), relative_error(work.span(), expected), kDifference,
         work.intact());
}

void nf4(const Backend& b) {
  const int64_t count = 64 * 300 + 22;  // past one group of scales, and a ragged block
  Guarded x = Guarded::random(count), decoded(count);
  std::fill(x.data() + 64, x.data() + 128, 0.0f);
  for (int i = 0; i < 64; ++i) x.data()[i] = 3 * kNf4Code[i % 16];
  const int64_t blocks = (count + 63) / 64;
  std::vector<uint8_t> codes(static_cast<size_t>((count + 1) / 2)), absmax_code(static_cast<size_t>(blocks));
  Guarded absmax(blocks), scale((blocks + kAbsmaxGroup - 1) / kAbsmaxGroup);
  b.nf4_quantize(codes.data(), absmax.data(), x.data(), count, 64);
  Nf4Tensor plain{codes.data(), absmax.data(), nullptr, nullptr, 0, count, 64};
  b.nf4_dequantize(decoded.data(), plain, 0, count);
  double levels = 0, zeros = 0, worst = 0;
  for (int i = 0; i < 64; ++i)
    levels = std::max(levels, std::fabs(static_cast<double>(decoded.data()[i] - x.data()[i])));
  for (int i = 64; i < 128; ++i) zeros = std::max(zeros, std::fabs(static_cast<double>(decoded.data()[i])));
  for (int64_t i = 128; i < count; ++i) {
    worst = std::max(worst, static_cast<double>(std::fabs(decoded.data()[i] - x.data()[i]) / absmax.data()[i / 64]));
  }
  report(named(b, "NF4 keeps its own sixteen levels", {}), levels, 0, decoded.intact() && absmax.intact());
  report(named(b, "NF4 keeps a block of zeros", {}), zeros, 0);
  report(named(b, "NF4 errs by at most half its widest gap", {}), worst, 0.5 * (1.0 - 0.6961928) + 1e-6);
  const float offset = b.nf4_quantize_absmax(absmax_code.data(), scale.data(), absmax.data(), blocks);
  Nf4Tensor nested{codes.data(), nullptr, absmax_code.data(), scale.data(), offset, count, 64};
  Guarded twice(count);
  b.nf4_dequantize(twice.data(), nested, 0, count);
  // Neighbouring codes of the dynamic map differ by at most 1/64 of the group's scale.
  const float largest = *std::ranges::max_element(scale.span());
  double off = 0;
  for (int64_t i = 0; i < count; ++i)
    off = std::max(off, std::fabs(static_cast<double>(twice.data()[i] - decoded.data()[i])));
  report(named(b, "NF4 double quantisation moves scales by half a code", {}), off, static_cast<double>(largest) / 64,
         twice.intact() && scale.intact());
}

// What the widest path computes elementwise has the bits of the baseline; sums may differ in order.
void paths_agree(const Backend& base, const Backend& wide, int threads) {
  const int64_t rows = 5, cols = 77;
  Guarded gu = Guarded::random(rows * 2 * cols, 20), y0(rows * cols), y1(rows * cols);
  base.swiglu_forward(dense(y0.data(), rows, cols), dense(gu.data(), rows, 2 * cols));
  wide.swiglu_forward(dense(y1.data(), rows, cols), dense(gu.data(), rows, 2 * cols));
  report(named(wide, "swiglu has the baseline's bits", {}), std::ranges::equal(y0.span(), y1.span()) ? 0 : 1, 0);

  const int64_t count = 64 * 9 + 10;
  Guarded x = Guarded::random(count), absmax(10), d0(count), d1(count);
  std::vector<uint8_t> c0(static_cast<size_t>(count / 2)), c1(c0.size());
  base.nf4_quantize(c0.data(), absmax.data(), x.data(), count, 64);
  wide.nf4_quantize(c1.data(), absmax.data(), x.data(), count, 64);
  const Nf4Tensor tensor{c0.data(), absmax.data(), nullptr, nullptr, 0, count, 64};
  base.nf4_dequantize(d0.data(), tensor, 0, count);
  wide.nf4_dequantize(d1.data(), tensor, 0, count);
  report(named(wide, "NF4 has the baseline's bits", {}), c0 == c1 && std::ranges::equal(d0.span(), d1.span()) ? 0 : 1,
         0);

  // With A the unit matrix, h is the dropped x.
  const int64_t in = 133, rank = in;
  Guarded lx = Guarded::random(rows * in), a = Guarded::zeros(rank * in), bb = Guarded::random(rank * cols);
  for (int64_t i = 0; i < in; ++i) a.data()[i * in + i] = 1;
  Guarded h0(rows * rank), h1(rows * rank), scratch(lora_scratch(threads, in, cols, rank));
  std::vector<uint32_t> ordinal(rows, 7), position = {0, 1, 2, 3, 1000000};
  const uint32_t step = 12;
  const Dropout dropout{0.3f, philox_key(7, 1, 3), &step, ordinal.data(), position.data()};
  const LoraWeights w{a.data(), bb.data(), rank, 1};
  base.lora_forward(dense(y0.data(), rows, cols), dense(h0.data(), rows, rank), dense(lx.data(), rows, in), w, dropout,
                    scratch.data());
  wide.lora_forward(dense(y1.data(), rows, cols), dense(h1.data(), rows, rank), dense(lx.data(), rows, in), w, dropout,
                    scratch.data());
  report(named(wide, "dropped values have the baseline's bits", {}), std::ranges::equal(h0.span(), h1.span()) ? 0 : 1,
         0);

  Guarded n0(rows * cols), n1(rows * cols), rstd(rows), weight = Guarded::random(cols);
  base.rmsnorm_forward(dense(n0.data(), rows, cols), rstd.data(), dense(gu.data(), rows, cols), weight.data(), 1e-5f);
  wide.rmsnorm_forward(dense(n1.data(), rows, cols), rstd.data(), dense(gu.data(), rows, cols), weight.data(), 1e-5f);
  report(named(wide, "rmsnorm agrees with the baseline", {}), relative_error(n1.span(), n0.span()), kReordered);
}

// Against the formula, on sets of every length up to some vectors.
void min_hash(const Backend& b) {
  std::vector<uint32_t> flip(kMinHashes), factor(kMinHashes), values(70);
  for (uint32_t& f : flip) f = static_cast<uint32_t>(generator());
  for (uint32_t& f : factor) f = static_cast<uint32_t>(generator()) | 1;
  for (uint32_t& v : values) v = static_cast<uint32_t>(generator());
  values[0] = 0;
  values[1] = ~uint32_t{0};
  double wrong = 0;
  for (size_t count = 1; count <= values.size(); ++count) {
    std::vector<uint32_t> minima(kMinHashes + 1, 12345);
    b.min_hash(minima.data(), values.data(), count, flip.data(), factor.data());
    for (int j = 0; j < kMinHashes; ++j) {
      uint32_t least = ~uint32_t{0};
      for (size_t i = 0; i < count; ++i) least = std::min(least, (values[i] ^ flip[j]) * factor[j]);
      wrong += minima[j] != least;
    }
    wrong += minima[kMinHashes] != 12345;
  }
  report(named(b, "min_hash is its formula, to the bit", {kMinHashes, 70}), wrong, 0);
}

void philox() {
  // Random123's known answers for philox4x32-10: counter, key, words.
  const uint32_t known[3][10] = {{0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                 {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
                                  0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                 {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
                                  0x94fdcceb, 0x5001e420, 0x24126ea1}};
  int wrong = 0;
  for (const auto& k : known) {
    uint32_t words[32];
    philox_group(words, {k[4], k[5]}, k[0], k[1], k[2], k[3] - k[3] % 8);
    for (uint32_t i = 0; i < 4; ++i) wrong += words[8 * i + k[3] % 8] != k[6 + i];
  }
  report("Philox4x32-10 gives Random123's known answers", wrong, 0);
}

void exponential() {
  double worst = 0;
  for (float x = -87; x < 88; x += 0.0137f) {
    worst = std::max(worst, std::fabs(static_cast<double>(exp_approx(x)) / std::exp(static_cast<double>(x)) - 1));
  }
  report("exp errs by at most 2e-7", worst, 2e-7);
  report("exp of a NaN is a NaN", std::isnan(exp_approx(NAN)) ? 0 : 1, 0);
}

}  // namespace

int main() {
  constexpr int kThreads = 2;
  philox();
  exponential();
  dropout_cases();
  for (const Backend* b : cpu_backends()) {
    b->open_stream(kThreads);
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 33}, {5, 64}, {2, 71}}) {
      rmsnorm(*b, rows, cols + 1);
      swiglu(*b, rows, cols);
      cross_entropy(*b, rows, cols + 1);
      distribution(*b, rows, cols + 1);
    }
    distribution(*b, 2, 5003);  // past the sums in f32
    rope(*b, 7, 3, 10);
    rope(*b, 5, 1, 64);
    attention_cases(*b, kThreads);
    lora_cases(*b, kThreads);
    nf4(*b);
    products(*b, kThreads);
    optimizer_cases(*b);
    min_hash(*b);
    paths_agree(*cpu_backends().front(), *b, kThreads);
  }
  sampling_cases();
  return 0;
}
