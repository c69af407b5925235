// The whole engine on the emulated device against the CPU backend: training, evaluation and generation of each family
// of models. Prints "ok NAME" or "not ok NAME: WHY" for cuda.test.ts.
#include <cmath>
#include <cstdio>
#include <functional>
#include <string_view>
#include <utility>

#include "device_error.h"
#include "same_bits.h"
#include "step_cases.h"
#include "step_model.h"

namespace humanizer::cuda {

namespace {

// f32, from the same parameters: the same sums in another order, 6e-8 each.
constexpr double kLossF32 = 1e-6, kGradientF32 = 3e-5;
// After steps of its own: AdamW moves an element by the learning rate, 3e-3, whatever its gradient's size, so that one
// whose gradient is no more than rounding moves either way. Parameters are about 0.1.
constexpr double kDriftedLoss = 1e-5, kDriftedGradient = 1e-2;
// bf16: every activation and its gradient is rounded to 2^-9 of itself, some twenty times from a layer's input to its
// output and back; roundings are independent, so that errors grow with the root of their number.
constexpr double kLossBf16 = 4e-3, kGradientBf16 = 0.06;
// What comes to q and k went through softmax's backward, P (dP - D): the difference of two near numbers, D being the
// mean of dP, keeps their roundings and is itself smaller.
constexpr double kBehindSoftmax = 2;

// A document of the evaluation has as few as one label, so that nothing averages out.
constexpr double kDocument = 3;

std::string beyond(const char* what, double error, double bound) {
  if (error <= bound) return {};
  return std::string(what) + ": error " + std::to_string(error) + ", bound " + std::to_string(bound) + "; ";
}

std::string differences(const Training& t, const Record& device, const Record& cpu, double loss, double gradient) {
  return beyond("losses", loss_error(device.losses, cpu.losses), loss) +
         beyond("gradients", gradient_error(t, device, cpu, false), gradient) +
         beyond("gradients of q and k", gradient_error(t, device, cpu, true), kBehindSoftmax * gradient) +
         beyond("evaluation", loss_error(device.evaluation, cpu.evaluation), kDocument * loss);
}

// Of the steps alone.
Record first_of(const Record& all, int64_t steps) {
  return {{all.losses.begin(), all.losses.begin() + steps},
          {},
          {all.gradients.begin(), all.gradients.begin() + steps},
          {},
          {},
          {},
          {},
          {}};
}

void families_in_f32() {
  for (const Family& family : families(10)) {
    Training t{&cpu_backend(), family.architecture};
    const Record cpu = train(t);
    t.backend = &cuda_f32_backend();
    const Record device = train(t);
    report(std::string("20 steps of ") + family.name + " in f32",
           differences(t, device, cpu, kDriftedLoss, kDriftedGradient));
    report(std::string("generation of ") + family.name + " token for token in f32",
           device.tokens == cpu.tokens ? "" : "another token");
    t.steps = 3;
    t.follow = &cpu;
    const Record first = train(t);
    report(std::string("3 steps of ") + family.name + " in f32, each from the same parameters",
           differences(t, first, first_of(cpu, 3), kLossF32, kGradientF32));
  }
}

void families_in_bf16() {
  for (const Family& family : families(8)) {
    Training t{&cpu_backend(), family.architecture, Checkpointing::kSelective, 3};
    const Record cpu = train(t);
    t.backend = &cuda_backend();
    t.follow = &cpu;  // else AdamW's steps on small gradients lead to other parameters, which are compared then
    const Record device = train(t);
    report(std::string("3 steps of ") + family.name + " in bf16",
           differences(t, device, cpu, kLossBf16, kGradientBf16));
  }
}

void policies() {
  const Family family = families(8)[1];
  Training t{&cuda_backend(), family.architecture, Checkpointing::kSelective, 2};
  const Record selective = train(t);
  t.checkpointing = Checkpointing::kNone;
  report("nothing recomputed gives the same bits", same(train(t), selective));
  t.checkpointing = Checkpointing::kFull;
  report("everything recomputed gives the same bits", same(train(t), selective));
}

void orders() {
  for (const bool narrow : {false, true}) {
    Training t{narrow ? &cuda_backend() : &cuda_f32_backend(), families(8)[0].architecture};
    t.steps = 1;
    t.tokens = 2;
    report(std::string("a step and a generation have the same bits under eight orders of threads, ") +
               t.backend->instruction_path,
           same_bits([&] {
             const Record record = train(t);
             std::vector<float> all = record.gradients[0];
             all.insert(all.end(), record.parameters[1].begin(), record.parameters[1].end());
             all.insert(all.end(), record.logits.begin(), record.logits.end());
             return all;
           }));
  }
}

void moments_in_8_bits() {
  Training t{&cpu_backend(), families(10)[2].architecture, Checkpointing::kFull, 2, 103, Optimizer::kAdamW8bit};
  const Record cpu = train(t);
  t.backend = &cuda_f32_backend();
  report("steps with moments in 8 bits", differences(t, train(t), cpu, kDriftedLoss, kDriftedGradient));
}

// As checkpoints do it: the host's copy of the parameters, into adapters of both backends.
void saved_adapter() {
  const Architecture a = families(10)[3].architecture;
  Model trained({&cuda_f32_backend(), a}), again({&cuda_f32_backend(), a}), cpu({&cpu_backend(), a});
  const Batch batch = trained.batch();
  trained.update(trained.accumulate(batch, 1), 1);
  const std::vector<NamedTensor> saved = trained.parameters();
  for (Model* model : {&again, &cpu}) model->adapter().assign(model->adapter().parameters(), saved);
  const std::vector<double> expected = trained.evaluate(batch);
  report("a saved adapter loads with the same bits", again.evaluate(batch) == expected ? "" : "another evaluation");
  report("a saved adapter loads on the CPU", beyond("evaluation", loss_error(cpu.evaluate(batch), expected), kLossF32));
}

void passes() {
  const Architecture a = families(10)[0].architecture;
  Backend by_sequence = cuda_f32_backend();
  by_sequence.group_tokens = 1;  // a pass for each sequence
  Model one({&cuda_f32_backend(), a}), many({&by_sequence, a});
  const Batch batch = one.batch(5);
  const StepLoss whole = one.accumulate(batch, 1), parts = many.accumulate(batch, 1);
  report("a batch in several passes has the same loss", beyond("loss", std::fabs(whole.nll / parts.nll - 1), kLossF32));
}

void non_finite() {
  const Architecture a = families(8)[0].architecture;
  for (const Backend* backend : {&cuda_f32_backend(), &cuda_backend()}) {
    Model model({backend, a});
    const Batch batch = model.batch();
    const std::vector<float> before = model.download(model.adapter().parameters());
    const float broken = INFINITY;
    const Slot& slot = model.adapter().slots()[14];  // the first of layer 1
    backend->memory.upload(model.adapter().parameters() + slot.offset, &broken, sizeof broken);
    const StepLoss loss = model.accumulate(batch, 1);
    const UpdateOutcome outcome = model.update(loss, 1);
    std::vector<float> after = model.download(model.adapter().parameters());
    after[static_cast<size_t>(slot.offset)] = before[static_cast<size_t>(slot.offset)];
    std::string problem = loss.non_finite == "layer 1" ? "" : "it names '" + loss.non_finite + "'; ";
    if (outcome.skip != 1 || outcome.non_finite.empty()) problem += "the update is not skipped; ";
    if (after != before) problem += "a parameter changed";
    report(std::string("a layer that is no finite number is named and skipped, ") + backend->instruction_path, problem);
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// What a device can refuse: the error's kind, and the words that say what to do.

template <class Kind>
void refuses(const std::string& name, const char* words, const std::function<void()>& work) {
  std::string problem = "nothing was refused";
  try {
    work();
  } catch (const Error& error) {
    const bool says = std::string(error.what()).find(words) != std::string::npos;
    problem = dynamic_cast<const Kind*>(&error) && says ? "" : error.what();
  }
  report(name, problem);
}

void refusals() {
  const Architecture a = families(8)[0].architecture;
  const auto open = [] { cuda_backend(); };
  emulated_cuda::set_driver(0, 0);
  refuses<DeviceUnavailable>("no driver", "no NVIDIA driver in this container", open);
  emulated_cuda::set_driver(1, 12040);
  refuses<DeviceUnavailable>("a driver that is too old", "speaks CUDA 12.4; expected at least driver 580", open);
  emulated_cuda::set_driver(0, 13000);
  refuses<DeviceUnavailable>("no device", "the driver shows no GPU", open);
  emulated_cuda::set_driver(1, 13000);
  emulated_cuda::claim_capability(75);
  refuses<DeviceUnavailable>("a GPU that is too old", "older than compute capability 8.0", open);
  emulated_cuda::claim_capability(0);
  Model model({&cuda_backend(), a});
  const Batch batch = model.batch();
  const size_t taken = emulated_cuda::allocated_bytes();
  emulated_cuda::set_memory(taken + 4096);
  refuses<Error>("a step that does not fit", "bytes on the GPU", [&] { model.accumulate(batch, 1); });
  emulated_cuda::set_memory(size_t{64} << 30);
  const StepLoss loss = model.accumulate(batch, 1);
  report("and fits when there is room", std::isfinite(loss.nll) ? "" : "no loss");
  for (const auto& [error, words] :
       {std::pair{cudaErrorECCUncorrectable, "cannot correct"}, std::pair{cudaErrorLaunchFailure, "the GPU is lost"},
        std::pair{cudaErrorDevicesUnavailable, "has it to itself"}}) {
    emulated_cuda::break_device(error);
    refuses<DeviceLost>(std::string("a step on a device that answers ") + cudaGetErrorName(error), words,
                        [&] { model.accumulate(batch, 2); });
    emulated_cuda::break_device(cudaSuccess);
  }
}

// Three texts of the batch's first tokens, 96 together, in parts.
void write_texts(Model& model, const Batch& batch) {
  std::vector<Turn> turns = model.sampled_turns();
  for (const auto& [first, count] : {std::pair{0, 24}, {24, 8}}) {
    const auto part = batch.tokens.begin() + first;
    for (Turn& turn : turns) turn.tokens = {part, part + count};
    if (first + count == 32) turns[0].choice = TokenChoice{inverse_temperature(0), 0, 1, 0, 0, 0};
    model.sample(turns);
  }
}

// What a step takes of the device, what where little of it is activations with texts after it, and of how many
// operations a graph of it would be, for memory-plan.test.ts, which knows the sizes: one sequence of 96 tokens.
void memory() {
  Training t{&cuda_backend(), families(16)[0].architecture};
  t.architecture.layers = 4;
  capture_steps(1);
  for (const auto& [policy, checkpointing] : {std::pair{"None", Checkpointing::kNone},
                                              {"Selective", Checkpointing::kSelective},
                                              {"Full", Checkpointing::kFull},
                                              {"Offload", Checkpointing::kOffload}}) {
    for (const Backend* backend : {&cuda_backend(), &cuda_f32_backend()}) {
      t.backend = backend;
      t.checkpointing = checkpointing;
      Model model(t);
      const Batch batch = model.document(96);
      const StepLoss loss = model.accumulate(batch, 1);
      const size_t operations = emulated_cuda::graph_operations();
      model.update(loss, 1);
      const auto step = static_cast<long long>(model.peak_bytes());
      if (checkpointing == Checkpointing::kFull || checkpointing == Checkpointing::kOffload) write_texts(model, batch);
      std::printf("%s %s %lld %lld %zu\n", backend->instruction_path, policy, step,
                  static_cast<long long>(model.peak_bytes()), operations);
    }
  }
  capture_steps(2);
}

}  // namespace

}  // namespace humanizer::cuda

// All parts that are tests, or the ones that are named.
int main(int count, char** names) {
  using namespace humanizer::cuda;
  const std::pair<std::string_view, void (*)()> parts[] = {
      {"f32", families_in_f32}, {"bf16", families_in_bf16},  {"policies", policies},
      {"orders", orders},       {"8bit", moments_in_8_bits}, {"adapter", saved_adapter},
      {"passes", passes},       {"non-finite", non_finite},  {"captured", captured},
      {"kept", kept},           {"offloaded", offloaded},    {"blocks", large_blocks},
      {"broken", broken_steps}, {"refusals", refusals},      {"tokens", tokens},
      {"memory", memory}};
  for (const auto& [name, run] : parts) {
    bool asked = count == 1 && name != "memory";
    for (int i = 1; i < count; ++i) asked = asked || name == names[i];
    if (asked) run();
  }
}
