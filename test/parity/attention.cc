// Attention over documents of any length: gradients against central differences, sums in f64, and the same bits
// whatever stands beside a document or a request.
#include <cstdint>
#include <numeric>
#include <utility>

#include "cases.h"

namespace humanizer {

namespace {

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

// In bf16 each factor errs by 2^-9 at most, and a sum has four of them: q and k in P, then P and v, or dS and k.
constexpr double kRoundedFactors = 4.0 / 512;

struct AttentionOps {
  const char* name;
  AttentionForward* forward;
  AttentionBackward* backward;
  double bound;
};

// Two documents, the sizes of training, against the same sums in f64; then, where the operation takes a cache, the last
// rows again as a decoding step.
void attention_sums(const Backend& b, const AttentionOps& ops, int threads, int64_t first, int64_t second,
                    AttentionShape s) {
  const int64_t rows = first + second, q = s.heads * s.head_size, kv = s.kv_heads * s.head_size, stride = q + 2 * kv;
  Guarded qkv = Guarded::random(rows * stride), out(rows * q), dout = Guarded::random(rows * q), dqkv(rows * stride);
  Guarded lse(rows * s.heads), scratch(b.attention_scratch(threads, 2, rows, std::max(first, second), rows, s, true));
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
  ops.forward(spans.data(), 2, s, scratch.data());
  ops.backward(spans.data(), gradients.data(), 2, s, scratch.data());

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
  report(named(b, (std::string(ops.name) + " sums").c_str(), {first, second, s.heads, s.kv_heads, s.head_size}),
         std::max(relative_error(out.span(), attended), relative_error(dqkv.span(), expected)), ops.bound,
         out.intact() && dqkv.intact() && lse.intact() && scratch.intact());
  if (ops.forward != b.attention_forward) return;
  for (const int64_t last : {int64_t{1}, int64_t{5}, second - 1}) {
    Guarded again(last * q), again_lse(last * s.heads);
    Guarded small(attention_scratch(threads, 1, second, second, s, false));
    const AttentionSpan step{dense(again.data(), last, q), again_lse.data(),
                             slice(columns(all, 0, q), rows - last, last), spans[1].k, spans[1].v};
    b.attention_forward(&step, 1, s, small.data());
    report(named(b, "attention of the last rows", {last, second}),
           relative_error(again.span(), std::span(attended).last(again.span().size())), ops.bound,
           again.intact() && again_lse.intact() && small.intact());
  }
}

// Documents beside each other: each has the bits, outputs and gradients, that it has alone, on one thread and on all.
// The cases after it draw the numbers that they drew without it.
void attention_of_documents(const Backend& b, const AttentionOps& ops, int threads, AttentionShape s) {
  const std::mt19937 before = generator;
  const std::vector<int64_t> documents = {5, 131, 1, 70, 200};  // of one to four chunks, past a tile of keys
  const int64_t rows = std::accumulate(documents.begin(), documents.end(), int64_t{0});
  const int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size, stride = q + 2 * kv;
  Guarded qkv = Guarded::random(rows * stride), dout = Guarded::random(rows * q);
  struct Results {
    Guarded out, lse, dqkv;
    bool intact;
  };
  const auto results = [&](int on_threads, bool together) {
    Results of{Guarded(rows * q), Guarded(rows * s.heads), Guarded(rows * stride), true};
    Guarded scratch(
        b.attention_scratch(on_threads, std::ssize(documents), rows, std::ranges::max(documents), rows, s, true));
    const ConstRows all = dense(static_cast<const float*>(qkv.data()), rows, stride);
    const Rows d = dense(of.dqkv.data(), rows, stride);
    std::vector<AttentionSpan> spans;
    std::vector<AttentionGradients> gradients;
    int64_t begin = 0;
    for (const int64_t size : documents) {
      const auto part = [&](auto x, int64_t column, int64_t cols) {
        return slice(columns(x, column, cols), begin, size);
      };
      spans.push_back({slice(dense(of.out.data(), rows, q), begin, size), of.lse.data() + begin * s.heads,
                       part(all, 0, q), part(all, q, kv), part(all, q + kv, kv)});
      gradients.push_back({part(d, 0, q), part(d, q, kv), part(d, q + kv, kv),
                           slice(dense(static_cast<const float*>(dout.data()), rows, q), begin, size)});
      begin += size;
    }
    b.open_stream(on_threads);
    const size_t at_once = together ? spans.size() : 1;
    for (size_t n = 0; n < spans.size(); n += at_once) {
      ops.forward(&spans[n], static_cast<int64_t>(at_once), s, scratch.data());
      ops.backward(&spans[n], &gradients[n], static_cast<int64_t>(at_once), s, scratch.data());
    }
    b.open_stream(threads);
    of.intact = of.out.intact() && of.lse.intact() && of.dqkv.intact() && scratch.intact();
    return of;
  };
  Results alone = results(1, false);
  for (const int on_threads : {1, threads}) {
    Results packed = results(on_threads, true);
    const bool same = std::ranges::equal(alone.out.span(), packed.out.span()) &&
                      std::ranges::equal(alone.lse.span(), packed.lse.span()) &&
                      std::ranges::equal(alone.dqkv.span(), packed.dqkv.span());
    report(named(b, (std::string(ops.name) + " of documents packed and alone").c_str(),
                 {s.heads, s.kv_heads, s.head_size, on_threads}),
           same ? 0 : 1, 0, alone.intact && packed.intact);
  }
  generator = before;
}

// A decoding step of requests of several lengths: each has the bits that it has alone, whatever number of others stands
// beside it, by which threads divide heads or whole requests. The cases after it draw the numbers that they drew
// without it.
void attention_of_requests(const Backend& b, int threads, AttentionShape s) {
  const std::mt19937 before = generator;
  const std::vector<int64_t> keys = {1, 8, 15, 401, 97, 36, 131, 50, 57};
  const int64_t requests = std::ssize(keys), most_rows = 3;
  const int64_t q = s.heads * s.head_size, kv = s.kv_heads * s.head_size;
  std::vector<Guarded> caches;
  Guarded queries = Guarded::random(requests * most_rows * q);
  for (const int64_t count : keys) {
    for (int side = 0; side < 2; ++side) caches.push_back(Guarded::random(count * kv));
  }
  Guarded scratch(attention_scratch(threads, requests, std::accumulate(keys.begin(), keys.end(), int64_t{0}),
                                    std::ranges::max(keys), s, false));
  bool intact = true;
  // out, then lse, of all requests, so many of them at once.
  const auto results = [&](int64_t at_once) {
    Guarded out = Guarded::zeros(requests * most_rows * q), lse = Guarded::zeros(requests * most_rows * s.heads);
    std::vector<AttentionSpan> spans;
    for (int64_t r = 0; r < requests; ++r) {
      const int64_t rows = std::min(keys[static_cast<size_t>(r)], 1 + r % most_rows), row = r * most_rows;
      const auto cache = [&](int64_t side) {
        Guarded& of = caches[static_cast<size_t>(2 * r + side)];
        return dense(static_cast<const float*>(of.data()), keys[static_cast<size_t>(r)], kv);
      };
      spans.push_back({dense(out.data() + row * q, rows, q), lse.data() + row * s.heads,
                       dense(static_cast<const float*>(queries.data()) + row * q, rows, q), cache(0), cache(1)});
    }
    for (int64_t first = 0; first < requests; first += at_once) {
      b.attention_forward(&spans[static_cast<size_t>(first)], std::min(at_once, requests - first), s, scratch.data());
    }
    intact = intact && out.intact() && lse.intact() && scratch.intact();
    std::vector<float> values(out.span().begin(), out.span().end());
    values.insert(values.end(), lse.span().begin(), lse.span().end());
    return values;
  };
  const std::vector<float> alone = results(1);
  // threads are two: heads are divided by up to three requests, whole requests from four on.
  for (const int64_t at_once : {int64_t{3}, int64_t{4}, requests}) {
    const bool same = results(at_once) == alone;
    report(named(b, "attention of requests together", {at_once, s.heads, s.kv_heads, s.head_size}), same ? 0 : 1, 0,
           intact);
  }
  generator = before;
}

}  // namespace

void attention_cases(const Backend& b, int threads) {
  attention(b, threads, 1, {1, 1, 2});
  attention(b, threads, 19, {6, 2, 5});
  attention(b, threads, 131, {2, 1, 3});  // past a tile of keys
  // exp errs by 2e-7, and lse carries the error of a sum of as many terms as there are keys.
  std::vector<AttentionOps> ops = {{"attention", b.attention_forward, b.attention_backward, 5e-6}};
  if (b.bf16_attention_forward) {
    ops.push_back({"attention in bf16", b.bf16_attention_forward, b.bf16_attention_backward, kRoundedFactors});
  }
  for (const AttentionOps& way : ops) {
    const std::mt19937 before = generator;
    attention_sums(b, way, threads, 13, 257, {6, 2, 17});
    attention_sums(b, way, threads, 1, 100, {3, 1, 64});
    attention_of_documents(b, way, threads, {6, 2, 17});
    if (way.forward != b.attention_forward) generator = before;  // the cases after it draw what they drew without it
  }
  attention_of_requests(b, threads, {9, 3, 64});
  attention_of_requests(b, threads, {14, 2, 37});  // seven heads of one key head, columns past the registers
}

}  // namespace humanizer
