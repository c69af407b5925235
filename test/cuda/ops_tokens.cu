// How likely a token is, and which comes next: distribution and sampling.
#include <cstring>

#include "op_case.h"

namespace humanizer::cuda {

namespace {

const Backend& cpu() { return cpu_backend(); }

// What head.h makes of a row.
struct Told {
  std::vector<double> log_probability, mean, variance;
};
Told told(const std::vector<RowDistribution>& rows) {
  Told of;
  for (const RowDistribution& row : rows) {
    const double log_total = std::log(row.total), first = row.first / row.total;
    of.log_probability.push_back(static_cast<double>(row.target) - static_cast<double>(row.maximum) - log_total);
    of.mean.push_back(first - log_total);
    of.variance.push_back(row.second / row.total - first * first);
  }
  return of;
}

// A vocabulary in two blocks, the second of larger logits, so that the maximum moves.
void distribution(int64_t rows, int64_t cols, float scale, float first_logit = 0) {
  const int64_t split = cols / 3;
  std::vector<float> z = random_values<float>(rows * cols, scale);
  for (size_t i = 0; i < z.size(); ++i) z[i] += static_cast<int64_t>(i) % cols < split ? 0 : 3;
  if (first_logit != 0) z[0] = first_logit;
  const std::vector<int32_t> labels = random_integers(rows, static_cast<int32_t>(cols));
  std::vector<RowDistribution> expected(static_cast<size_t>(rows));
  const auto blocks = [&](auto f) {
    if (split > 0) f(0, split);
    f(split, cols - split);
  };
  blocks([&](int64_t first, int64_t count) {
    cpu().distribution_scan(expected.data(), columns(dense(z.data(), rows, cols), first, count), labels.data(), first);
  });
  const Told want = told(expected);
  // The variance is the difference of two sums that are both good to kReordered of themselves.
  double cancelled = 1;
  for (const RowDistribution& row : expected) {
    const double second = row.second / row.total, first = row.first / row.total;
    if (second - first * first > 0) cancelled = std::max(cancelled, 2 * second / (second - first * first));
  }
  const auto one = [&](const char* name, std::vector<double> Told::*of, double bound) {
    const std::vector<double>& values = want.*of;
    check(named(name, "f32", {rows, cols}), {values.begin(), values.end()}, bound, [&](cudaStream_t stream) {
      const Device<float> from(z);
      const Device<int32_t> at(labels);
      const Device<RowDistribution> to(static_cast<size_t>(rows));
      blocks([&](int64_t first, int64_t count) {
        const View<float> all = view(from, rows, cols);
        distribution_scan(stream, to.data(), {all.data + first, rows, count, cols}, at.data(), first);
      });
      expect(cudaStreamSynchronize(stream));
      return told(to.values()).*of;
    });
  };
  one("log-likelihood", &Told::log_probability, kReordered);
  one("mean log-likelihood", &Told::mean, kReordered);
  one("variance of the log-likelihood", &Told::variance, kReordered * cancelled);
}

// What of a row matters, as values that can be compared bit by bit.
std::vector<double> listed(const std::vector<SampledToken>& rows, const std::vector<TokenChoice>& choices) {
  std::vector<double> values;
  for (size_t r = 0; r < rows.size(); ++r) {
    const SampledToken& row = rows[r];
    values.insert(values.end(), {static_cast<double>(row.id), static_cast<double>(row.logit)});
    if (choices[r].alternatives < 0) continue;
    values.push_back(static_cast<double>(row.maximum));
    for (int bit = 0; bit < 64; bit += 16) values.push_back(static_cast<double>(row.total >> bit & 0xffffu));
    for (int i = 0; i < choices[r].alternatives; ++i) {
      values.insert(values.end(), {static_cast<double>(row.top[i]), static_cast<double>(row.top_logits[i])});
    }
  }
  return values;
}

TokenChoice choice(double temperature, double top_p, double random, int32_t alternatives = -1,
                   int32_t first_penalty = 0, int32_t end_penalty = 0) {
  return {inverse_temperature(temperature), alternatives, top_p, random, first_penalty, end_penalty};
}

void sampling(const char* what, const std::vector<float>& z, const std::vector<TokenChoice>& choices,
              const std::vector<Penalty>& penalties = {}) {
  const auto rows = static_cast<int64_t>(choices.size()), cols = static_cast<int64_t>(z.size()) / rows;
  std::vector<SampledToken> expected(choices.size());
  std::vector<float> weights(z.size()), logits = z;
  cpu().sample_tokens(expected.data(), dense(logits.data(), rows, cols), dense(weights.data(), rows, cols),
                      choices.data(), penalties.data());
  const std::vector<double> want = listed(expected, choices);
  check(std::string("tokens have the bits: ") + what, {want.begin(), want.end()}, 0, [&](cudaStream_t stream) {
    const Device<float> from(z), scratch(z.size());
    const Device<TokenChoice> how(choices);
    const Device<Penalty> less(penalties.empty() ? std::vector<Penalty>(1) : penalties);
    const Device<SampledToken> to(choices.size());
    sample_tokens(stream, to.data(), view(from, rows, cols), view(scratch, rows, cols), how.data(), less.data());
    expect(cudaStreamSynchronize(stream));
    return listed(to.values(), choices);
  });
}

void samplings() {
  std::vector<float> steps = random_values<float>(3 * 777);
  for (float& logit : steps) logit = std::round(logit * 20);  // many equals
  steps[0] = NAN;
  sampling("greedy among equals", steps, {choice(0, 1, 0.5), choice(0, 1, 0.5, 3), choice(0, 0.5, 0)});
  sampling("a nucleus whose edge has equals", steps,
           {choice(1, 0.9, 0.1), choice(2, 0.5, 0.7), choice(3, 0.99, 0.999)});
  sampling("penalties", steps, {choice(0, 1, 0, 2, 0, 3), choice(1, 0.8, 0.3, 0, 3, 5), choice(1, 1, 0.5, -1, 5, 5)},
           {{700, 3}, {5, 40}, {1, -50}, {776, 2}, {0, -60}});
  sampling("one token", {2}, {choice(1, 0.5, 0.999, 20)});
  sampling("no number", {NAN, NAN, INFINITY, 1}, {choice(1, 0.5, 0.5, 2), choice(1, 1, 0.5, 1)});
  sampling("nearly everything and nearly nothing", random_values<float>(3 * 5000, 8),
           {choice(1, 1 - 0x1p-53, 1 - 0x1p-53), choice(1e-320, 0, 0.999, 20), choice(2, 1, 0)});
}

}  // namespace

void token_cases() {
  generator.seed(5);
  distribution(1, 1, 1);
  distribution(3, 777, 20);
  distribution(2, 6144, 5);
  distribution(2, 90, 1, NAN);
  distribution(2, 90, 1, INFINITY);
  samplings();
}

}  // namespace humanizer::cuda
