// Texts scored and tokens drawn by the whole engine on the emulated device, against the CPU backend.
#include <cmath>
#include <cstdio>

#include "step_model.h"

namespace humanizer::cuda {

namespace {

// As curvature.ts: (log p - E) / sqrt(Var), of each document that could have been otherwise.
struct Curvature {
  double value;
  double noise;  // what an error of the sums by a share of 1 makes of it
};
std::vector<Curvature> curvatures(const Backend& backend, const Architecture& architecture, bool adapted) {
  Model model({&backend, architecture});
  const Batch batch = model.batch(4);
  std::vector<Curvature> all;
  for (const TextLikelihood& text : model.likelihoods(batch, adapted)) {
    if (text.variance <= 0) continue;
    const double deviation = std::sqrt(text.variance), value = (text.log_probability - text.mean) / deviation;
    // The numerator is the difference of two sums; half of the variance's error is the root's.
    all.push_back({value, (std::fabs(text.log_probability) + std::fabs(text.mean)) / deviation + std::fabs(value) / 2});
  }
  return all;
}

std::string far_apart(const std::vector<Curvature>& a, const std::vector<Curvature>& b, double bound) {
  if (a.size() != b.size() || a.empty()) return "other documents";
  for (size_t i = 0; i < b.size(); ++i) {
    const double error = std::fabs(a[i].value - b[i].value), allowed = bound * b[i].noise;
    if (!(error <= allowed)) {
      return "curvature " + std::to_string(b[i].value) + " errs by " + std::to_string(error) + ", bound " +
             std::to_string(allowed);
    }
  }
  return {};
}

struct Drawn {
  std::vector<int32_t> ids;
  std::vector<double> logprobs;
  std::vector<int64_t> waits;
};
// trains: before the first token, and again between two.
Drawn draw(const Backend& backend, const Architecture& a, bool trains = false) {
  Model model({&backend, a});
  std::vector<Turn> turns = model.sampled_turns();
  const Batch batch = model.batch();
  const bool device = &backend.memory != &kHostMemory;
  Drawn drawn;
  for (int step = 0; step < 12; ++step) {
    if (trains && step % 6 == 0) model.accumulate(batch, 1 + step);
    for (size_t i = 0; i < turns.size(); ++i) {
      turns[i].choice.reset();
      if (step == 0 && i == 1) continue;  // a part of a prompt
      const double random = std::fmod(0.618034 * (1 + step) + 0.37 * static_cast<double>(i), 1);
      turns[i].choice = TokenChoice{inverse_temperature(i == 2 ? 0 : 0.9), 2, 0.95, random, 0, 0};
    }
    const int64_t before = device ? waits() : 0;
    model.sample(turns);
    if (device && step > 0) drawn.waits.push_back(waits() - before);
    for (Turn& turn : turns) {
      if (turn.choice) {
        drawn.ids.insert(drawn.ids.end(), {turn.sampled.id, turn.sampled.top[0], turn.sampled.top[1]});
        drawn.logprobs.push_back(log_probability(turn.sampled, turn.sampled.logit));
        std::erase_if(turn.penalties, [&](const Penalty& p) { return p.token == turn.sampled.id; });
        turn.penalties.push_back({turn.sampled.id, 0.5f});
      }
      turn.tokens = {turn.choice ? turn.sampled.id : 1};
    }
  }
  return drawn;
}

void tell(const std::string& name, const std::string& problem) {
  std::printf(problem.empty() ? "ok %s\n" : "not ok %s: %s\n", name.c_str(), problem.c_str());
  std::fflush(stdout);
}

}  // namespace

void tokens() {
  const std::vector<Family> all = families(8);
  for (const bool trains : {false, true}) {
    const Family& family = trains ? all.back() : all.front();
    const Architecture& a = family.architecture;
    const std::vector<Curvature> expected = curvatures(cpu_backend(), a, true);
    // As step.cu's bounds of the loss of a document.
    tell(std::string("curvature of ") + family.name + " in f32",
         far_apart(curvatures(cuda_f32_backend(), a, true), expected, 3e-6));
    tell(std::string("curvature of ") + family.name + " in bf16",
         far_apart(curvatures(cuda_backend(), a, true), expected, 1.2e-2));
    const Drawn cpu = draw(cpu_backend(), a), device = draw(cuda_f32_backend(), a, trains);
    double error = 0;
    for (size_t i = 0; i < cpu.logprobs.size(); ++i)
      error = std::max(error, std::fabs(device.logprobs[i] - cpu.logprobs[i]));
    tell(std::string("tokens of ") + family.name + " drawn in f32, one by one" +
             (trains ? ", beside steps that drive caches out of their memory" : ""),
         device.ids != cpu.ids ? "another token"
         : error > 1e-5        ? "log-probabilities err by " + std::to_string(error)
                               : "");
    bool once = !device.waits.empty();
    for (const int64_t waited : device.waits) once = once && waited == 1;
    tell(std::string("the host waits once for a step's tokens of ") + family.name, once ? "" : "it waits more often");
  }
}

}  // namespace humanizer::cuda
