// Which token follows from logits: sampling.h, of which every backend makes the same.
#include <numeric>

#include "cases.h"

namespace humanizer {

namespace {

// The probabilities 0.1, 0.2, 0.3, 0.4.
std::vector<float> tenths() {
  std::vector<float> logits;
  for (const float p : {0.1f, 0.2f, 0.3f, 0.4f}) logits.push_back(std::log(p));
  return logits;
}

struct Asked {
  double temperature = 1, top_p = 1, random = 0;
  std::vector<Penalty> penalties = {};
  int32_t alternatives = -1;
};

SampledToken sampled(const std::vector<float>& logits, const Asked& asked) {
  const TokenChoice choice{
      inverse_temperature(asked.temperature),      asked.alternatives, asked.top_p, asked.random, 0,
      static_cast<int32_t>(asked.penalties.size())};
  const auto count = static_cast<int64_t>(logits.size());
  Guarded z(count), weights(count);
  std::ranges::copy(logits, z.span().begin());
  SampledToken token{};
  cpu_backend().sample_tokens(&token, dense(z.data(), 1, count), dense(weights.data(), 1, count), &choice,
                              asked.penalties.data());
  if (!z.intact() || !weights.intact()) token.id = -1;
  return token;
}

void chosen() {
  const struct {
    const char* name;
    Asked asked;
    int32_t want;
  } cases[] = {
      {"takes the largest at temperature 0, whatever the random number", {.temperature = 0}, 3},
      {"takes the first token for the smallest random numbers", {.random = 0.05}, 0},
      {"takes the second token from where the first ends", {.random = 0.15}, 1},
      {"takes the last token for the largest random numbers", {.random = 0.999999}, 3},
      {"leaves out what top_p does not need", {.top_p = 0.65}, 2},
      {"shares the nucleus by weight", {.top_p = 0.65, .random = 0.42}, 2},
      {"shares the nucleus by weight to its end", {.top_p = 0.65, .random = 0.44}, 3},
      {"keeps one token when top_p is 0", {.top_p = 0, .random = 0.99}, 3},
      {"keeps everything when top_p is 1 but for rounding", {.top_p = 1 - 0x1p-53}, 0},
      {"sharpens at a low temperature", {.temperature = 0.1, .random = 0.1}, 3},
      {"does not overflow at the lowest temperature", {.temperature = 1e-320, .random = 0.1}, 3},
      {"avoids what was said before", {.temperature = 0, .penalties = {{3, 1}}}, 2},
      {"avoids it when drawing, too", {.random = 0.999, .penalties = {{3, 100}, {2, 100}}}, 1},
      {"says again what the penalty does not forbid", {.temperature = 0, .penalties = {{3, 0.1f}}}, 3},
  };
  for (const auto& [name, asked, want] : cases) {
    report(std::string("choosing a token ") + name, std::abs(sampled(tenths(), asked).id - want), 0);
  }
  int32_t wrong = 0;
  for (const int32_t token : {0, 1, 2, 3}) {
    wrong += sampled({0, 0, 0, 0}, {.top_p = 0.5, .random = 0.3 * token}).id != token;
  }
  report("equal tokens at the edge of the nucleus are all kept, so order does not matter", wrong, 0);
  std::vector<int> counts(4);
  for (int i = 0; i < 2000; ++i) ++counts[static_cast<size_t>(sampled(tenths(), {.random = (i + 0.5) / 2000}).id)];
  report("drawn tokens follow the probabilities", counts == std::vector{200, 400, 600, 800} ? 0 : 1, 0);
  report("a logit that is no number is told", std::isnan(sampled({NAN, NAN}, {}).logit) ? 0 : 1, 0);
}

// Before temperature and penalties; the largest first. exp_approx errs by 2e-7.
void probabilities() {
  const SampledToken token = sampled(tenths(), {.temperature = 0, .penalties = {{3, 9}}, .alternatives = 20});
  double error = token.id == 2 ? 0 : 1;
  for (const auto& [i, id, p] : {std::tuple{0, 3, 0.4}, {1, 2, 0.3}, {2, 1, 0.2}, {3, 0, 0.1}}) {
    if (token.top[i] != id) error = 1;
    error = std::max(error, std::fabs(log_probability(token, token.top_logits[i]) - std::log(p)));
  }
  if (token.top[4] != -1) error = 1;
  report("log-probabilities are the model's own, and come largest first", error, 5e-7);
}

// The definition in f64, by sorting. With these seeds no draw comes as near to an edge as f32 rounds.
int32_t by_definition(const std::vector<float>& logits, const Asked& asked) {
  std::vector<double> weights;
  const double maximum = static_cast<double>(std::ranges::max(logits));
  for (const float z : logits) weights.push_back(std::exp((static_cast<double>(z) - maximum) / asked.temperature));
  std::vector<double> sorted = weights;
  std::ranges::sort(sorted, std::ranges::greater{});
  const double total = std::accumulate(sorted.begin(), sorted.end(), 0.0);
  double kept = 0;
  size_t last = 0;
  while (kept + sorted[last] < asked.top_p * total && last + 1 < sorted.size()) kept += sorted[last++];
  const double threshold = sorted[last];
  kept = 0;
  for (const double w : weights) kept += w >= threshold ? w : 0;
  double left = asked.random * kept;
  for (size_t id = 0;; ++id) {
    if (weights[id] >= threshold && (left -= weights[id]) < 0) return static_cast<int32_t>(id);
  }
}

void nuclei() {
  std::uniform_real_distribution<double> uniform;
  int wrong = 0;
  for (int i = 0; i < 300; ++i) {
    Guarded values = Guarded::random(1 + i * 7, static_cast<float>(1 + i % 9));
    const std::vector<float> logits(values.span().begin(), values.span().end());
    const Asked asked{
        .temperature = 0.2 + 2 * uniform(generator), .top_p = uniform(generator), .random = uniform(generator)};
    wrong += sampled(logits, asked).id != by_definition(logits, asked);
  }
  report("nuclei are those of the definition in f64", wrong, 0);
}

}  // namespace

void sampling_cases() {
  chosen();
  probabilities();
  nuclei();
}

}  // namespace humanizer
