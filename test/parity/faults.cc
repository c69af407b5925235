// What the engine does when the system refuses: every large block of memory in turn, and threads. Prints "ok NAME" or
// "not ok NAME: WHY" for each case, for sanitized.test.ts.
#include <dlfcn.h>
#include <pthread.h>

#include <cerrno>
#include <functional>

#include "dedup.h"
#include "error.h"
#include "guarded_memory.h"
#include "tiny_model.h"

using namespace humanizer;

namespace {

const Architecture kArchitecture{40, 72, 2, 6, 2, 10, 131, 1e-5f, 10000, {}, true, true, false, false};
const Quantization kNf4{true, 64, true};
constexpr int64_t kMatrices = 1 + 2 * kModules;

void report(const std::string& name, const std::string& why) {
  std::printf(why.empty() ? "ok %s\n" : "not ok %s: %s\n", name.c_str(), why.c_str());
}

struct Weights {
  Weights() {
    Generator generator(1);
    ModelBytes model = random_weights(kArchitecture, file.path(), generator);
    sources = std::move(model.sources);
    file.write(model.bytes);
  }
  TemporaryFile file;
  std::vector<TensorSource> sources;
};

const Weights& weights() {
  static const Weights written;
  return written;
}

struct Model {
  Llama load(
      const std::function<void(double)>& progress = [](double) {},
      Checkpointing checkpointing = Checkpointing::kSelective) {
    return Llama(cpu_backend(), account, kArchitecture, weights().sources, kNf4, 2, checkpointing, progress, cancelled);
  }
  std::shared_ptr<Account> account = std::make_shared<Account>();
  std::atomic<bool> cancelled{false};
};

// Runs work with block `refused` of it refused. True: it threw kOutOfMemory.
bool out_of_memory(int64_t refused, const std::function<void()>& work) {
  refuse_block(refused);
  try {
    work();
  } catch (const Error& error) {
    refuse_block(-1);
    if (error.code != Code::kOutOfMemory) throw;
    return true;
  }
  refuse_block(-1);
  return false;
}

using Result = std::vector<float>;
// A scenario calls attempt(work) where blocks are refused, and does its work again where that says it failed.
using Attempt = std::function<bool(const std::function<void()>&)>;

// The scenario with no block refused, then with each: the same result.
void every_block(const std::string& name, int64_t at_least, const std::function<Result(const Attempt&)>& scenario) {
  const Result expected = scenario([](const auto& work) { return out_of_memory(-1, work); });
  int64_t refused = 0;
  for (bool failed = true; failed; refused += failed) {
    failed = false;
    const Result result = scenario([&](const auto& work) { return failed = out_of_memory(refused, work); });
    if (result != expected) {
      return report(name, "another result after block " + std::to_string(refused) + " was refused");
    }
  }
  report(name, refused >= at_least ? "" : "only " + std::to_string(refused) + " blocks were asked for");
}

Result parameters_of(Adapter& adapter) { return {adapter.parameters(), adapter.parameters() + adapter.count()}; }
Result gradients_of(Adapter& adapter) { return {adapter.gradients(), adapter.gradients() + adapter.count()}; }

void loading() {
  every_block("a model that does not fit leaves nothing and loads later", kMatrices, [](const Attempt& attempt) {
    Model model;
    const auto load = [&] { model.load(); };
    if (attempt(load)) load();
    return Result{static_cast<float>(model.account->resident)};
  });
}

void generation() {
  every_block("a sequence that does not fit stays as it was and goes on later", 6, [](const Attempt& attempt) {
    Model model;
    Llama llama = model.load();
    Generator generator(2);
    const auto sequence = std::make_shared<Sequence>(cpu_backend(), model.account, nullptr, kArchitecture.layers,
                                                     kArchitecture.kv_size(), 2000);
    std::vector<Turn> few{{sequence, random_tokens(kArchitecture, 50, generator), {}}};
    std::vector<Turn> many{{sequence, random_tokens(kArchitecture, 300, generator), {}}};
    llama.generate(few);
    if (attempt([&] { llama.generate(many); })) llama.generate(many);
    return many[0].logits;
  });
}

void text_between_steps() {
  every_block("a text that a step drives out of its memory goes on after a step that did not fit", 5,
              [](const Attempt& attempt) {
                Model model;
                Llama llama = model.load();
                Generator generator(4);
                Adapter adapter(cpu_backend(), model.account, {5, 2, 0.1f, {"q_proj"}, 7}, kArchitecture.layers,
                                module_shapes(kArchitecture));
                const Batch few = random_batch(kArchitecture, 1, 200, generator),
                            many = random_batch(kArchitecture, 4, 300, generator);
                llama.accumulate(adapter, few, 1);
                const auto sequence = std::make_shared<Sequence>(cpu_backend(), model.account, nullptr,
                                                                 kArchitecture.layers, kArchitecture.kv_size(), 200);
                std::vector<Turn> turns{{sequence, random_tokens(kArchitecture, 30, generator), {}}};
                llama.generate(turns);
                const auto step = [&] { llama.accumulate(adapter, many, 2); };
                if (attempt(step)) step();
                llama.generate(turns);
                return turns[0].logits;
              });
}

void training(Checkpointing checkpointing, const std::string& name) {
  every_block("a step that does not fit is made later, " + name, 5, [checkpointing](const Attempt& attempt) {
    Model model;
    Llama llama = model.load([](double) {}, checkpointing);
    Generator generator(3);
    const LoraConfig config{5, 2, 0.1f, {"q_proj", "down_proj"}, 7};
    Adapter adapter(cpu_backend(), model.account, config, kArchitecture.layers, module_shapes(kArchitecture));
    const Batch few = random_batch(kArchitecture, 1, 20, generator),
                many = random_batch(kArchitecture, 4, 300, generator);
    const AdamwOptions options{1e-2, 1e-3, 1, 0.9, 0.999, 1e-8, 0.01, 1};
    llama.evaluate(&adapter, few);
    const auto work = [&] {
      llama.accumulate(adapter, many, 1);
      adapter.update(options);
    };
    if (attempt(work)) {
      adapter.discard_gradients();
      work();
    }
    Result result = parameters_of(adapter);
    llama.accumulate(adapter, many, 2);
    const Result gradients = gradients_of(adapter);
    result.insert(result.end(), gradients.begin(), gradients.end());
    return result;
  });
}

void cancellation() {
  for (int64_t last = 1; last <= kMatrices; ++last) {
    Model model;
    int64_t calls = 0;
    bool cancelled = false;
    try {
      model.load([&](double) { model.cancelled = ++calls == last; });
    } catch (const Error& error) {
      cancelled = error.code == Code::kCancelled;
    }
    if (calls != last || cancelled != (last < kMatrices)) {
      return report("loading ends with the matrix under way", "cancelled at " + std::to_string(last) + " of " +
                                                                  std::to_string(kMatrices) + ", ended at " +
                                                                  std::to_string(calls));
    }
  }
  report("loading ends with the matrix under way", "");
}

int threads_given = -1;  // negative: as many as are wanted

void threads() {
  std::string texts;
  std::vector<uint32_t> ends;
  for (int text = 0; text < 64; ++text) {
    for (int word = 0; word < 50; ++word) texts.append("w").append(std::to_string(text / 2 * 50 + word)).append(" ");
    texts.pop_back();
    ends.push_back(static_cast<uint32_t>(texts.size()));
  }
  const auto clusters = [&](int given) {
    NearDuplicates index(0.8, 5, 8);
    threads_given = given;
    index.add(texts, ends.data(), ends.size());
    threads_given = given;
    std::vector<uint32_t> found = index.clusters();
    threads_given = -1;
    return found;
  };
  const std::vector<uint32_t> expected = clusters(-1);
  std::string why;
  for (int given = 0; given < 8; ++given) {
    if (clusters(given) != expected) why = "other clusters with " + std::to_string(given) + " threads";
  }
  report("near duplicates are found with fewer threads than asked for", why);
}

}  // namespace

// In place of the C library's, for std::thread too.
extern "C" __attribute__((visibility("default"))) int pthread_create(pthread_t* thread,
                                                                     const pthread_attr_t* attributes,
                                                                     void* (*start)(void*), void* argument) {
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  if (threads_given == 0) return EAGAIN;
  if (threads_given > 0) --threads_given;
  return real(thread, attributes, start, argument);
}

int main() {
  loading();
  generation();
  text_between_steps();
  training(Checkpointing::kNone, "None");
  training(Checkpointing::kSelective, "Selective");
  training(Checkpointing::kFull, "Full");
  cancellation();
  threads();
  return 0;
}
