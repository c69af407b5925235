// What trains: LoRA's products with their dropout, and the optimizers' steps.
#include <cstdint>

#include "cases.h"
#include "philox.h"

namespace humanizer {

namespace {

constexpr uint32_t kStep = 9;

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
  const Dropout dropout{rate, philox_key(42, 2, 5), &kStep, ordinal.data(), position.data()};
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

// In bf16 each factor errs by 2^-9 at most, and a sum has three of them: x or dy, A or B, and h or dh.
constexpr double kThreeFactors = 3.0 / 512;

struct LoraOps {
  const char* name;
  LoraForward* forward;
  LoraBackward* backward;
  double bound;
};

// Sizes that central differences are too slow for, against the same sums in f64: past a block of rows and a strip of
// columns, with tails of both. The last row alone has the same y, h and dx, to the bit.
void lora_sums(const Backend& b, const LoraOps& ops, int threads, int64_t rows, int64_t in, int64_t out, int64_t rank,
               float rate) {
  Guarded x = Guarded::random(rows * in), a = Guarded::random(rank * in), bb = Guarded::random(out * rank),
          dy = Guarded::random(rows * out);
  Guarded y = Guarded::zeros(rows * out), h(rows * rank), da = Guarded::zeros(rank * in),
          db = Guarded::zeros(out * rank), dx = Guarded::zeros(rows * in);
  Guarded scratch(b.lora_scratch(threads, rows, in, out, rank));
  std::vector<uint32_t> ordinal(static_cast<size_t>(rows), 5), position;
  for (int64_t r = 0; r < rows; ++r) position.push_back(static_cast<uint32_t>(r));
  const Dropout dropout{rate, philox_key(42, 2, 5), &kStep, ordinal.data(), position.data()};
  const LoraWeights w{a.data(), bb.data(), rank, 0.5f};
  ops.forward(dense(y.data(), rows, out), dense(h.data(), rows, rank), dense(x.data(), rows, in), w, dropout,
              scratch.data());
  ops.backward(dense(dx.data(), rows, in), da.data(), db.data(), dense(dy.data(), rows, out), dense(x.data(), rows, in),
               dense(h.data(), rows, rank), w, dropout, scratch.data());

  const auto dropped = static_cast<uint32_t>(std::lround(static_cast<double>(rate) * 65536));
  const auto sized = [](int64_t count) { return std::vector<double>(static_cast<size_t>(count)); };
  std::vector<double> keep = sized(rows * in), hs = sized(rows * rank), dh = sized(rows * rank), ys = sized(rows * out);
  std::vector<double> das = sized(rank * in), dbs = sized(out * rank), dxs = sized(rows * in);
  const auto at = [](std::vector<double>& m, int64_t i) -> double& { return m[static_cast<size_t>(i)]; };
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t c = 0; c < in; ++c) {
      uint32_t words[32];
      philox_group(words, dropout.key, *dropout.step, 5, static_cast<uint32_t>(t), static_cast<uint32_t>(c / 8));
      const uint32_t word = words[8 * (c % 8 / 2)], drawn = c % 2 == 0 ? word % 65536 : word / 65536;
      at(keep, t * in + c) = drawn >= dropped ? 65536.0 / (65536 - dropped) : 0;
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
  const auto compare = [&](const char* of, double difference, double bound, bool intact) {
    report(named(b, (std::string(ops.name) + of + (rate > 0 ? " with dropout" : "")).c_str(), {rows, in, out, rank}),
           difference, bound, intact);
  };
  const double worst = std::max({error(y, ys), error(h, hs), error(dx, dxs), error(da, das), error(db, dbs)});
  compare(" sums", worst, ops.bound,
          y.intact() && h.intact() && dx.intact() && da.intact() && db.intact() && scratch.intact());

  // The mask kept by forward is what backward draws, and does not draw then: its key is another. beta = 0: y and dx are
  // not read.
  std::vector<uint32_t> words(static_cast<size_t>(rows * mask_words(in)));
  Guarded y_written(rows * out), h_again(rows * rank), dx_again(rows * in), da_again = Guarded::zeros(rank * in),
                                                                            db_again = Guarded::zeros(out * rank);
  std::ranges::fill(y_written.span(), NAN);
  std::ranges::fill(dx_again.span(), NAN);
  Dropout keeping = dropout;
  keeping.kept = words.data();
  LoraWeights writing = w;
  writing.beta = 0;
  ops.forward(dense(y_written.data(), rows, out), dense(h_again.data(), rows, rank), dense(x.data(), rows, in), writing,
              keeping, scratch.data());
  keeping.key = {};
  ops.backward(dense(dx_again.data(), rows, in), da_again.data(), db_again.data(), dense(dy.data(), rows, out),
               dense(x.data(), rows, in), dense(h_again.data(), rows, rank), writing, keeping, scratch.data());
  const auto equal = [](Guarded& a, Guarded& b) { return std::ranges::equal(a.span(), b.span()); };
  compare(", y and dx written and the mask kept",
          equal(y_written, y) && equal(h_again, h) && equal(dx_again, dx) && equal(da_again, da) && equal(db_again, db)
              ? 0
              : 1,
          0, y_written.intact());

  const int64_t last = rows - 1;
  Guarded y_alone = Guarded::zeros(out), h_alone(rank), dx_alone = Guarded::zeros(in);
  const Dropout of_last{rate, dropout.key, dropout.step, ordinal.data() + last, position.data() + last};
  if (ops.forward == b.lora_forward && rate == 0) return;  // one row goes another way
  ops.forward(dense(y_alone.data(), 1, out), dense(h_alone.data(), 1, rank), dense(x.data() + last * in, 1, in), w,
              of_last, scratch.data());
  ops.backward(dense(dx_alone.data(), 1, in), da.data(), db.data(), dense(dy.data() + last * out, 1, out),
               dense(x.data() + last * in, 1, in), dense(h.data() + last * rank, 1, rank), w, of_last, scratch.data());
  const auto same = [&](Guarded& alone, Guarded& all) {
    return std::ranges::equal(alone.span(), all.span().last(alone.span().size()));
  };
  compare(", a row alone", same(y_alone, y) && same(h_alone, h) && same(dx_alone, dx) ? 0 : 1, 0, true);
}

void dropout_rate(const Backend& b, int threads) {
  const int64_t rows = 500, in = 576, rank = 1;
  Guarded x(rows * in), a(in), bb = Guarded::zeros(1), y = Guarded::zeros(rows), h(rows),
                               scratch(lora_scratch(threads, in, 1, 1));
  std::ranges::fill(x.span(), 1.0f);
  std::ranges::fill(a.span(), 1.0f);
  std::vector<uint32_t> ordinal(rows, 0), position;
  for (uint32_t r = 0; r < rows; ++r) position.push_back(r);
  const Dropout dropout{0.05f, philox_key(42, 0, 0), &kStep, ordinal.data(), position.data()};
  b.lora_forward(dense(y.data(), rows, 1), dense(h.data(), rows, rank), dense(x.data(), rows, in),
                 {a.data(), bb.data(), rank, 1}, dropout, scratch.data());
  double kept = 0;  // h is the number of kept columns over the share that is kept: 0.05 is 3,277 of 65,536
  for (const float sum : h.span()) kept += static_cast<double>(sum) * (65536 - 3277) / 65536;
  // Five standard deviations of 288,000 draws.
  report(named(b, "dropout drops its share", {}), std::fabs(1 - kept / (rows * in) - 0.05), 0.0021);
}

// The applied rate is the nearest of 65,536ths, never all of them, and what is kept makes up for that rate.
void applied_rates() {
  double worst = 0;
  for (const double rate : {1e-6, 0.05, 0.1, 0.3, 1.0 / 3, 0.5, 0.99, 0.9999999}) {
    const double applied = dropout_threshold(static_cast<float>(rate)) / 65536.0;
    worst = std::max(worst, std::fabs(applied - rate) - (rate > 0.9999 ? 1.0 / 65536 : 1.0 / 131072));
    worst = std::max(worst, std::fabs(static_cast<double>(kept_scale(static_cast<float>(rate))) * (1 - applied) - 1));
  }
  report("the applied rate of dropout is the nearest of 65,536ths and its mean is kept", worst, 1e-7);
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

}  // namespace

void lora_cases(const Backend& b, int threads) {
  lora(b, threads, 5, 33, 17, 3, 0);
  lora(b, threads, 7, 70, 9, 4, 0.3f);
  lora(b, threads, 1, 1, 1, 1, 0);
  std::vector<LoraOps> ops = {{"lora", b.lora_forward, b.lora_backward, kReordered}};
  if (b.bf16_lora_forward) ops.push_back({"lora in bf16", b.bf16_lora_forward, b.bf16_lora_backward, kThreeFactors});
  for (const LoraOps& way : ops) {
    for (const float rate : {0.0f, 0.3f}) {
      lora_sums(b, way, threads, 245, 205, 131, 35, rate);  // past a block of rows, a strip of columns, a tile of rank
      lora_sums(b, way, threads, 1, 97, 200, 8, rate);
      lora_sums(b, way, threads, 9, 96, 96, 32, rate);
    }
  }
  dropout_rate(b, threads);
}

void dropout_cases() { applied_rates(); }

void optimizer_cases(const Backend& b) {
  adamw(b);
  adamw8bit(b);
}

}  // namespace humanizer
