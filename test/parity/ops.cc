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

void attention(const Backend& b, int threads, int64_t rows, AttentionShape s) {
  const int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size, stride = q + 2 * kv;
  Guarded qkv = Guarded::random(rows * stride), out(rows * q), dout = Guarded::random(rows * q), dqkv(rows * stride);
  Guarded lse(rows * s.heads), scratch(attention_scratch(threads, 1, rows, rows, s, true));
  const auto span_of = [&] {
    const ConstRows all = dense(static_cast<const float*>(qkv.data()), rows, stride);
    return AttentionSpan{dense(out.data(), rows, q), lse.data(), columns(all, 0, q), columns(all, q, kv),
                         columns(all, q + kv, kv)};
  };
  const auto forward = [&] {
    const AttentionSpan span = span_of();
    b.attention_forward(&span, 1, s, scratch.data());
  };
  forward();
  const AttentionSpan span = span_of();
  const Rows d = dense(dqkv.data(), rows, stride);
  const AttentionGradients gradients{columns(d, 0, q), columns(d, q, kv), columns(d, q + kv, kv),
                                     dense(dout.data(), rows, q)};
  b.attention_backward(&span, &gradients, 1, s, scratch.data());
  const auto expected = differences(qkv.span(), [&] {
    forward();
    return weighted(out.span(), dout.span());
  });
  report(named(b, "attention", {rows, s.heads, s.kv_heads, s.head_size}), relative_error(dqkv.span(), expected),
         kDifference, out.intact() && dqkv.intact() && lse.intact() && scratch.intact());
}

// Two documents, the sizes of training, against the same sums in f64; then the last rows again as a decoding step.
void attention_sums(const Backend& b, int threads, int64_t first, int64_t second, AttentionShape s) {
  const int64_t rows = first + second, q = s.heads * s.head_size, kv = s.kv_heads * s.head_size, stride = q + 2 * kv;
  Guarded qkv = Guarded::random(rows * stride), out(rows * q), dout = Guarded::random(rows * q), dqkv(rows * stride);
  Guarded lse(rows * s.heads), scratch(attention_scratch(threads, 2, rows, std::max(first, second), s, true));
  const ConstRows all = dense(static_cast<const float*>(qkv.data()), rows, stride);
  const Rows d = dense(dqkv.data(), rows, stride);
  std::vector<AttentionSpan> spans;
  std::vector<AttentionGradients> gradients;
  for (const auto& [begin, size] : {std::pair<int64_t, int64_t>{0, first}, {first, second}}) {
    const auto part = [&](auto x, int64_t column, int64_t cols) {
      return slice(columns(x, column, cols), begin, size);
    };
    spans.push_back({slice(dense(out.data(), rows, q), begin, size), lse.data() + begin * s.heads, part(all, 0, q),
                     part(all, q, kv), part(all, q + kv, kv)});
    gradients.push_back({part(d, 0, q), part(d, q, kv), part(d, q + kv, kv),
                         slice(dense(static_cast<const float*>(dout.data()), rows, q), begin, size)});
  }
  b.attention_forward(spans.data(), 2, s, scratch.data());
  b.attention_backward(spans.data(), gradients.data(), 2, s, scratch.data());

  std::vector<double> wanted(static_cast<size_t>(rows * stride)), outputs(static_cast<size_t>(rows * q));
  const double scale = 1 / std::sqrt(static_cast<double>(s.head_size));
  const auto value = [&](int64_t r, int64_t c) { return static_cast<double>(qkv.data()[r * stride + c]); };
  for (int64_t h = 0; h < s.heads; ++h) {
    const int64_t k_at = q + h / (s.heads / s.kv_heads) * s.head_size, v_at = k_at + kv, q_at = h * s.head_size;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t begin = r < first ? 0 : first;
      std::vector<double> p, dp;
      double sum = 0, mean = 0;
      for (int64_t k = begin; k <= r; ++k) {
        double score = 0, gradient = 0;
        for (int64_t c = 0; c < s.head_size; ++c) {
          score += value(r, q_at + c) * value(k, k_at + c) * scale;
          gradient += static_cast<double>(dout.data()[r * q + q_at + c]) * value(k, v_at + c);
        }
        p.push_back(std::exp(score));
        dp.push_back(gradient);
        sum += p.back();
      }
      for (size_t k = 0; k < p.size(); ++k) mean += (p[k] /= sum) * dp[k];
      for (int64_t k = begin; k <= r; ++k) {
        const double weight = p[static_cast<size_t>(k - begin)];
        const double ds = weight * (dp[static_cast<size_t>(k - begin)] - mean) * scale;
        for (int64_t c = 0; c < s.head_size; ++c) {
          outputs[static_cast<size_t>(r * q + q_at + c)] += weight * value(k, v_at + c);
          wanted[static_cast<size_t>(r * stride + q_at + c)] += ds * value(k, k_at + c);
          wanted[static_cast<size_t>(k * stride + k_at + c)] += ds * value(r, q_at + c);
          wanted[static_cast<size_t>(k * stride + v_at + c)] +=
              weight * static_cast<double>(dout.data()[r * q + q_at + c]);
        }
      }
    }
  }
  const std::vector<float> expected(wanted.begin(), wanted.end()), attended(outputs.begin(), outputs.end());
  // exp errs by 2e-7, and lse carries the error of a sum of as many terms as there are keys.
  report(named(b, "attention sums", {first, second, s.heads, s.kv_heads, s.head_size}),
         std::max(relative_error(out.span(), attended), relative_error(dqkv.span(), expected)), 5e-6,
         out.intact() && dqkv.intact() && lse.intact() && scratch.intact());
  for (const int64_t last : {int64_t{1}, int64_t{5}, second - 1}) {
    Guarded again(last * q), again_lse(last * s.heads);
    Guarded small(attention_scratch(threads, 1, second, second, s, false));
    const AttentionSpan step{dense(again.data(), last, q), again_lse.data(),
                             slice(columns(all, 0, q), rows - last, last), spans[1].k, spans[1].v};
    b.attention_forward(&step, 1, s, small.data());
    report(named(b, "attention of the last rows", {last, second}),
           relative_error(again.span(), std::span(attended).last(again.span().size())), 5e-6,
           again.intact() && again_lse.intact() && small.intact());
  }
}

// A decoding step of requests of several lengths: together each has the bits that it has alone. The cases after it draw
// the numbers that they drew without it.
void attention_of_requests(const Backend& b, int threads, AttentionShape s) {
  const std::mt19937 before = generator;
  constexpr int64_t kRequests = 9;
  const int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
  std::vector<Guarded> caches;
  Guarded queries = Guarded::random(kRequests * q), out(kRequests * q), alone(kRequests * q), lse(kRequests * s.heads);
  std::vector<AttentionSpan> spans;
  int64_t all = 0, longest = 0;
  for (int64_t r = 0; r < kRequests; ++r) {
    const int64_t keys = 1 + 7 * r;
    for (int side = 0; side < 2; ++side) caches.push_back(Guarded::random(keys * kv));
    all += keys;
    longest = keys;
  }
  const auto span_of = [&](int64_t r, Guarded& to) {
    const auto cache = [&](int64_t side) {
      Guarded& of = caches[static_cast<size_t>(2 * r + side)];
      return dense(static_cast<const float*>(of.data()), static_cast<int64_t>(of.span().size()) / kv, kv);
    };
    return AttentionSpan{dense(to.data() + r * q, 1, q), lse.data() + r * s.heads,
                         dense(static_cast<const float*>(queries.data()) + r * q, 1, q), cache(0), cache(1)};
  };
  Guarded scratch(attention_scratch(threads, kRequests, all, longest, s, false));
  for (int64_t r = 0; r < kRequests; ++r) {
    spans.push_back(span_of(r, out));
    const AttentionSpan one = span_of(r, alone);
    b.attention_forward(&one, 1, s, scratch.data());
  }
  b.attention_forward(spans.data(), kRequests, s, scratch.data());
  report(named(b, "attention of requests together", {s.heads, s.kv_heads, s.head_size}),
         std::ranges::equal(out.span(), alone.span()) ? 0 : 1, 0,
         out.intact() && alone.intact() && lse.intact() && scratch.intact());
  generator = before;
}

void lora(const Backend& b, int threads, int64_t rows, int64_t in, int64_t out, int64_t rank, float rate) {
  Guarded x = Guarded::random(rows * in), a = Guarded::random(rank * in), bb = Guarded::random(out * rank),
          dy = Guarded::random(rows * out);
  Guarded y(rows * out), h(rows * rank), da = Guarded::zeros(rank * in), db = Guarded::zeros(out * rank),
                                         dx = Guarded::zeros(rows * in);
  Guarded scratch(lora_scratch(threads, in, out, rank));
  std::vector<uint32_t> ordinal, position;
  for (int64_t r = 0; r < rows; ++r) {
    ordinal.push_back(3);
    position.push_back(static_cast<uint32_t>(r));
  }
  const Dropout dropout{rate, philox_key(42, 2, 5), 9, ordinal.data(), position.data()};
  const LoraWeights w{a.data(), bb.data(), rank, 0.5f};
  const auto forward = [&] {
    std::ranges::fill(y.span(), 0.0f);
    b.lora_forward(dense(y.data(), rows, out), dense(h.data(), rows, rank), dense(x.data(), rows, in), w, dropout,
                   scratch.data());
    return weighted(y.span(), dy.span());
  };
  forward();
  b.lora_backward(dense(dx.data(), rows, in), da.data(), db.data(), dense(dy.data(), rows, out),
                  dense(x.data(), rows, in), dense(h.data(), rows, rank), w, dropout, scratch.data());
  const bool intact = y.intact() && h.intact() && da.intact() && db.intact() && dx.intact() && scratch.intact();
  const std::string name = named(b, rate > 0 ? "lora with dropout" : "lora", {rows, in, out, rank});
  report(name + ": dx", relative_error(dx.span(), differences(x.span(), forward)), kDifference, intact);
  report(name + ": dA", relative_error(da.span(), differences(a.span(), forward)), kDifference);
  report(name + ": dB", relative_error(db.span(), differences(bb.span(), forward)), kDifference);
}

// Sizes that central differences are too slow for, against the same sums in f64: past a block of rows and a strip of
// columns, with tails of both.
void lora_sums(const Backend& b, int threads, int64_t rows, int64_t in, int64_t out, int64_t rank, float rate) {
  Guarded x = Guarded::random(rows * in), a = Guarded::random(rank * in), bb = Guarded::random(out * rank),
          dy = Guarded::random(rows * out);
  Guarded y = Guarded::zeros(rows * out), h(rows * rank), da = Guarded::zeros(rank * in),
          db = Guarded::zeros(out * rank), dx = Guarded::zeros(rows * in);
  Guarded scratch(lora_scratch(threads, in, out, rank));
  std::vector<uint32_t> ordinal(static_cast<size_t>(rows), 5), position;
  for (int64_t r = 0; r < rows; ++r) position.push_back(static_cast<uint32_t>(r));
  const Dropout dropout{rate, philox_key(42, 2, 5), 9, ordinal.data(), position.data()};
  const LoraWeights w{a.data(), bb.data(), rank, 0.5f};
  b.lora_forward(dense(y.data(), rows, out), dense(h.data(), rows, rank), dense(x.data(), rows, in), w, dropout,
                 scratch.data());
  b.lora_backward(dense(dx.data(), rows, in), da.data(), db.data(), dense(dy.data(), rows, out),
                  dense(x.data(), rows, in), dense(h.data(), rows, rank), w, dropout, scratch.data());

  const auto threshold = static_cast<uint32_t>(static_cast<double>(rate) * 4294967296.0);
  const auto sized = [](int64_t count) { return std::vector<double>(static_cast<size_t>(count)); };
  std::vector<double> keep = sized(rows * in), hs = sized(rows * rank), dh = sized(rows * rank), ys = sized(rows * out);
  std::vector<double> das = sized(rank * in), dbs = sized(out * rank), dxs = sized(rows * in);
  const auto at = [](std::vector<double>& m, int64_t i) -> double& { return m[static_cast<size_t>(i)]; };
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t c = 0; c < in; ++c) {
      uint32_t words[32];
      philox_group(words, dropout.key, dropout.step, 5, static_cast<uint32_t>(t), static_cast<uint32_t>(c / 32));
      at(keep, t * in + c) = words[c % 32] >= threshold ? 1 / (1 - static_cast<double>(rate)) : 0;
    }
    for (int64_t j = 0; j < rank; ++j) {
      for (int64_t c = 0; c < in; ++c)
        at(hs, t * rank + j) += at(keep, t * in + c) * static_cast<double>(x.data()[t * in + c]) *
                                static_cast<double>(a.data()[j * in + c]);
      for (int64_t o = 0; o < out; ++o) {
        const double of_b = 0.5 * static_cast<double>(bb.data()[o * rank + j]), of_dy = dy.data()[t * out + o];
        at(ys, t * out + o) += at(hs, t * rank + j) * of_b;
        at(dh, t * rank + j) += of_dy * of_b;
        at(dbs, o * rank + j) += 0.5 * of_dy * at(hs, t * rank + j);
      }
      for (int64_t c = 0; c < in; ++c) {
        at(das, j * in + c) += at(dh, t * rank + j) * at(keep, t * in + c) * static_cast<double>(x.data()[t * in + c]);
        at(dxs, t * in + c) += at(dh, t * rank + j) * at(keep, t * in + c) * static_cast<double>(a.data()[j * in + c]);
      }
    }
  }
  const auto error = [](Guarded& got, const std::vector<double>& wanted) {
    return relative_error(got.span(), std::vector<float>(wanted.begin(), wanted.end()));
  };
  const double worst = std::max({error(y, ys), error(h, hs), error(dx, dxs), error(da, das), error(db, dbs)});
  report(named(b, rate > 0 ? "lora sums with dropout" : "lora sums", {rows, in, out, rank}), worst, kReordered,
         y.intact() && h.intact() && da.intact() && db.intact() && dx.intact() && scratch.intact());
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

void adamw(const Backend& b) {
  const int64_t count = 4099;
  Guarded p = Guarded::random(count), g = Guarded::random(count), m = Guarded::zeros(count), v = Guarded::zeros(count);
  const std::vector<float> start(p.span().begin(), p.span().end());
  GradientNorm norm{};
  double squares = 0;
  for (const float value : g.span()) squares += static_cast<double>(value) * static_cast<double>(value);
  b.gradient_norm(&norm, g.data(), count, 0.5);
  report(named(b, "gradient norm", {count}), std::fabs(norm.norm / (0.5 * std::sqrt(squares)) - 1), 1e-12);
  const AdamwOptions options{1e-2, 0.5, 0, 0.9, 0.999, 1e-8, 0.1, 1};
  const std::vector<float> gradient(g.span().begin(), g.span().end());
  b.adamw_update(p.data(), g.data(), m.data(), v.data(), count, &norm, options);
  // The first step moves by the learning rate against the gradient's sign, whatever its size.
  std::vector<float> expected;
  for (size_t i = 0; i < start.size(); ++i) {
    expected.push_back(start[i] * (1 - 1e-3f) - 1e-2f * (gradient[i] > 0 ? 1.0f : -1.0f));
  }
  report(named(b, "AdamW's first step", {count}), relative_error(p.span(), expected), 1e-4,
         p.intact() && g.intact() && m.intact() && v.intact());
}

// The first step goes by moments that were not rounded yet: it is AdamW's, bit for bit. A skipped one changes nothing.
void adamw8bit(const Backend& b) {
  const int64_t count = 4099, blocks = (count + kMomentBlock - 1) / kMomentBlock;
  Guarded p = Guarded::random(count), g = Guarded::random(count), m_scale = Guarded::zeros(blocks),
          v_scale = Guarded::zeros(blocks), m = Guarded::zeros(count), v = Guarded::zeros(count);
  std::vector<uint8_t> first(static_cast<size_t>(count)), second(first);
  std::vector<float> expected(p.span().begin(), p.span().end()), gradient(g.span().begin(), g.span().end());
  const AdamwOptions options{1e-2, 0.5, 0, 0.9, 0.999, 1e-8, 0.1, 1};
  const GradientNorm finite{1, 0}, infinite{HUGE_VAL, 1};
  b.adamw_update(expected.data(), gradient.data(), m.data(), v.data(), count, &finite, options);
  const QuantizedMoments moments{first.data(), second.data(), m_scale.data(), v_scale.data()};
  b.adamw8bit_update(p.data(), g.data(), moments, count, &finite, options);
  report(named(b, "AdamW's first step in 8 bits", {count}), relative_error(p.span(), expected), 0,
         p.intact() && g.intact() && m_scale.intact() && v_scale.intact());
  const std::vector<uint8_t> codes = first;
  b.adamw8bit_update(p.data(), g.data(), moments, count, &infinite, options);
  report(named(b, "a skipped step in 8 bits", {count}), relative_error(p.span(), expected), 0, codes == first);
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
  const Dropout dropout{0.3f, philox_key(7, 1, 3), 12, ordinal.data(), position.data()};
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
    philox_group(words, {k[4], k[5]}, k[0], k[1], k[2], k[3] / 8);
    for (uint32_t i = 0; i < 4; ++i) wrong += words[8 * i + k[3] % 8] != k[6 + i];
  }
  report("Philox4x32-10 gives Random123's known answers", wrong, 0);
}

void dropout_rate(const Backend& b, int threads) {
  const int64_t rows = 500, in = 576, rank = 1;
  Guarded x(rows * in), a(in), bb = Guarded::zeros(1), y = Guarded::zeros(rows), h(rows),
                               scratch(lora_scratch(threads, in, 1, 1));
  std::ranges::fill(x.span(), 1.0f);
  std::ranges::fill(a.span(), 1.0f);
  std::vector<uint32_t> ordinal(rows, 0), position;
  for (uint32_t r = 0; r < rows; ++r) position.push_back(r);
  const Dropout dropout{0.05f, philox_key(42, 0, 0), 1, ordinal.data(), position.data()};
  b.lora_forward(dense(y.data(), rows, 1), dense(h.data(), rows, rank), dense(x.data(), rows, in),
                 {a.data(), bb.data(), rank, 1}, dropout, scratch.data());
  double kept = 0;  // h is the number of kept columns over 1 - rate
  for (const float sum : h.span()) kept += static_cast<double>(sum) * 0.95;
  // Five standard deviations of 288,000 draws.
  report(named(b, "dropout drops its share", {}), std::fabs(1 - kept / (rows * in) - 0.05), 0.0021);
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
    attention(*b, kThreads, 1, {1, 1, 2});
    attention(*b, kThreads, 19, {6, 2, 5});
    attention(*b, kThreads, 131, {2, 1, 3});  // past a tile of keys
    attention_sums(*b, kThreads, 13, 257, {6, 2, 17});
    attention_sums(*b, kThreads, 1, 100, {3, 1, 64});
    attention_of_requests(*b, kThreads, {9, 3, 64});
    attention_of_requests(*b, kThreads, {14, 2, 37});  // seven heads of one key head, columns past the registers
    lora(*b, kThreads, 5, 33, 17, 3, 0);
    lora(*b, kThreads, 7, 70, 9, 4, 0.3f);
    lora(*b, kThreads, 1, 1, 1, 1, 0);
    for (const float rate : {0.0f, 0.3f}) {
      lora_sums(*b, kThreads, 113, 205, 131, 35, rate);  // past a block of rows, a strip of columns, a tile of rank
      lora_sums(*b, kThreads, 1, 97, 200, 8, rate);
      lora_sums(*b, kThreads, 9, 96, 96, 32, rate);
    }
    nf4(*b);
    products(*b, kThreads);
    adamw(*b);
    adamw8bit(*b);
    min_hash(*b);
    dropout_rate(*b, kThreads);
    paths_agree(*cpu_backends().front(), *b, kThreads);
  }
  return 0;
}
