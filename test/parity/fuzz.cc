// engine_fuzz ROUNDS SEED: tensors and models whose files and descriptions are broken in random ways, and batches of
// every shape, through the engine without Node, broken CSV, and texts to cluster. Each is an Error with a code that
// says whose fault it is, or a result; never a crash, which the sanitizers and the pages around each block see. Prints
// "ok NAME" or "not ok NAME: WHY" for sanitized.test.ts.
#include "fuzz.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "error.h"
#include "guarded_memory.h"
#include "tiny_model.h"

using namespace humanizer;

namespace {

// True when work ran to its end. What came in may be wrong or too large; no other code is right here.
bool attempt(Tally& tally, const char* what, const std::function<void()>& work) {
  try {
    work();
    return true;
  } catch (const Error& error) {
    if (error.code == Code::kInternal || error.code == Code::kCancelled) tally.why = std::string(what) + error.what();
  } catch (const std::exception& error) {
    tally.why = std::string(what) + error.what();
  }
  return false;
}

int64_t strange_number() {
  static const std::vector<int64_t> numbers = {std::numeric_limits<int64_t>::min(),
                                               -(int64_t{1} << 40),
                                               -1,
                                               0,
                                               1,
                                               2,
                                               31,
                                               33,
                                               4096,
                                               (int64_t{1} << 31) - 1,
                                               int64_t{1} << 31,
                                               int64_t{1} << 46,
                                               int64_t{1} << 62,
                                               std::numeric_limits<int64_t>::max()};
  return any(numbers);
}

// What model/llama.ts and validate.ts let through, small.
Architecture random_architecture() {
  Architecture a{};
  a.kv_heads = draw(generator, 1, 3);
  a.heads = a.kv_heads * draw(generator, 1, 3);
  a.head_size = 2 * draw(generator, 1, 9);
  // Whole blocks now and then, so that GGUF's formats fit.
  a.hidden = chance(3) ? 32 * draw(generator, 1, 2) : draw(generator, 1, 70);
  a.intermediate = chance(3) ? 32 * draw(generator, 1, 3) : draw(generator, 1, 90);
  a.layers = draw(generator, 1, 3);
  a.vocabulary = draw(generator, 1, 300);
  a.norm_epsilon = 1e-5f;
  a.rope_theta = chance(2) ? 10000 : 1;
  if (chance(3)) a.rope_scaling = {8, 1, 4, 64};
  a.tied_embeddings = chance(2);
  a.qkv_bias = chance(2);
  a.output_bias = chance(4);
  a.fused_projections = chance(3);
  return a;
}

const std::vector<Format> kFormats = {Format::kF32,  Format::kF16,  Format::kBF16, Format::kQ8_0,
                                      Format::kQ4_0, Format::kQ4_1, Format::kQ6_K};

// The bytes that shape and format need, without a look at what is too large.
void resize(TensorSource& source) {
  const FormatSize size = format_size(source.format);
  uint64_t count = 1;
  for (const int64_t extent : source.shape) count *= static_cast<uint64_t>(extent);
  source.bytes = static_cast<int64_t>(count / static_cast<uint64_t>(size.values) * static_cast<uint64_t>(size.bytes));
}

// Another format, read from wherever its bytes then lie.
void reformat(TensorSource& source) {
  source.format = any(kFormats);
  resize(source);
}

void break_model(ModelBytes& model) {
  TensorSource& source =
      model.sources[static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(model.sources.size()) - 1))];
  switch (draw(generator, 0, 10)) {
    case 0:
      if (source.shape.empty()) break;
      source.shape[static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(source.shape.size()) - 1))] =
          strange_number();
      break;
    case 1:
      source.shape = {};
      break;
    case 2:
      source.shape.push_back(strange_number());
      break;
    case 3:
      source.bytes = strange_number();
      break;
    case 4:
      source.offset = strange_number();
      break;
    case 5:
      source.unpermute_heads = chance(2) ? strange_number() : draw(generator, 1, 12);
      break;
    case 6:
      source.format = any(kFormats);
      break;
    case 7:
      reformat(source);
      break;
    case 8:
      source.name = any(model.sources).name;
      break;
    case 9:
      model.bytes.resize(static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(model.bytes.size()))));
      break;
    default:
      for (int i = 0; i < 8 && !model.bytes.empty(); ++i) {
        const auto at = static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(model.bytes.size()) - 1));
        model.bytes[at] = static_cast<uint8_t>(chance(2) ? 0xff : draw(generator, 0, 255));
      }
  }
}

// One tensor by itself, as readTensor takes it: any shape, mostly with the bytes that it needs, or seems to.
void read_one(Tally& tally) {
  const TemporaryFile file;
  std::vector<uint8_t> bytes(static_cast<size_t>(draw(generator, 0, 20000)));
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(draw(generator, 0, 0x6f));
  for (int64_t broken = chance(3) ? draw(generator, 1, 3) : 0; broken > 0 && !bytes.empty(); --broken) {
    bytes[static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(bytes.size()) - 1))] = 0xff;
  }
  file.write(bytes);
  TensorSource source{"w", file.path(), any(kFormats), {}, draw(generator, 0, 3), 0, 0};
  const int64_t values = format_size(source.format).values;
  for (int64_t dimensions = chance(10) ? draw(generator, 0, 3) : draw(generator, 1, 2); dimensions > 0; --dimensions) {
    source.shape.push_back(chance(6) ? strange_number() : draw(generator, 1, 12) * (dimensions == 1 ? values : 1));
  }
  resize(source);
  if (chance(8)) source.bytes = strange_number();
  if (chance(3)) source.unpermute_heads = chance(4) ? strange_number() : draw(generator, 1, 6);
  const std::vector<const Backend*> backends = cpu_backends();
  const Backend& backend = *any(backends);
  backend.open_stream(2);
  Account account;
  const bool read = attempt(tally, "read: ", [&] { read_values(backend, source); });
  const bool held = attempt(tally, "hold: ", [&] {
    const Weight weight = Weight::quantized(backend, account, source, {true, 2 * draw(generator, 1, 40), chance(2)});
    std::vector<float> decoded(static_cast<size_t>(weight.rows() * weight.cols()));
    weight.decode_into(backend, decoded.data());
    if (!std::ranges::all_of(decoded, [](float value) { return std::isfinite(value); })) {
      throw Error(Code::kInternal, "a value that is not finite came through");
    }
  });
  if (read != held && tally.why.empty()) tally.why = "of reading and quantising one took it and one did not";
  ++(read ? tally.loaded : tally.refused);
}

// Formats of GGUF throughout, rows of q and k interleaved: what a whole file of that kind is.
void make_gguf(ModelBytes& model, const Architecture& a) {
  for (TensorSource& source : model.sources) {
    if (source.shape.size() == 2 || chance(8)) reformat(source);
    if (source.name.find("q_proj") != std::string::npos) source.unpermute_heads = a.heads;
    if (source.name.find("k_proj") != std::string::npos) source.unpermute_heads = a.kv_heads;
  }
}

LoraConfig random_lora(const ModuleShapes& shapes) {
  LoraConfig config{draw(generator, 1, 20), 2, chance(2) ? 0.0f : 0.3f, {}, 7};
  for (const auto& [name, in, out] : shapes) {
    if (name && chance(2)) config.targets.push_back(std::string(name).substr(std::string(name).find('.') + 1));
  }
  if (config.targets.empty()) config.targets = {"o_proj"};
  return config;
}

std::vector<NamedTensor> broken_tensors(const Adapter& adapter) {
  std::vector<NamedTensor> tensors;
  for (const Slot& slot : adapter.slots()) {
    tensors.push_back(
        {slot.name, slot.rows, slot.cols, std::vector<float>(static_cast<size_t>(slot.rows * slot.cols))});
  }
  NamedTensor& tensor = tensors[static_cast<size_t>(draw(generator, 0, static_cast<int64_t>(tensors.size()) - 1))];
  if (chance(3)) tensor.name = any(tensors).name;
  if (chance(3)) tensor.rows = strange_number();
  if (chance(3)) tensor.cols = strange_number();
  if (chance(3)) tensor.data.resize(static_cast<size_t>(draw(generator, 0, 40)));
  return tensors;
}

void use(Llama& llama, Tally& tally) {
  const Architecture& a = llama.architecture();
  const auto adapter = std::make_shared<Adapter>(llama.backend(), llama.account(), random_lora(module_shapes(a)),
                                                 a.layers, module_shapes(a));
  attempt(tally, "assign: ", [&] { adapter->assign(adapter->parameters(), broken_tensors(*adapter)); });
  const bool ran = attempt(tally, "use: ", [&] {
    for (uint32_t step = 1; step <= 2; ++step) {
      const Batch batch = random_batch(a, draw(generator, 1, 3), chance(8) ? 400 : 40, generator);
      llama.accumulate(*adapter, batch, step);
      adapter->update({1e-2, 1, 1, 0.9, 0.999, 1e-8, 0.01, step});
      llama.evaluate(chance(2) ? adapter.get() : nullptr, batch);
    }
    std::vector<std::shared_ptr<Sequence>> sequences;
    for (int64_t s = draw(generator, 1, 11); s > 0; --s) {
      sequences.push_back(std::make_shared<Sequence>(llama.backend(), llama.account(), chance(2) ? adapter : nullptr,
                                                     a.layers, a.kv_size(), 300, draw(generator, 0, 90)));
    }
    for (int turn = 0; turn < 3; ++turn) {
      std::vector<Turn> turns;
      for (const auto& sequence : sequences) {
        const int64_t tokens = chance(2) ? 1 : draw(generator, 1, 80);
        turns.push_back({sequence, random_tokens(a, tokens, generator), {}});
      }
      llama.generate(turns);
    }
  });
  if (!ran && tally.why.empty()) tally.why = "use: a model that loaded refused its work";
}

void use_one(Tally& tally) {
  const Architecture a = random_architecture();
  const TemporaryFile file;
  ModelBytes model = random_weights(a, file.path(), generator);
  if (chance(3)) make_gguf(model, a);
  for (int64_t breaks = draw(generator, 0, 2); breaks > 0; --breaks) break_model(model);
  file.write(model.bytes);
  const Quantization quantization{chance(2), 2 * draw(generator, 1, 70), chance(2)};
  const int threads = static_cast<int>(draw(generator, 1, 3));
  const auto checkpointing = static_cast<Checkpointing>(draw(generator, 0, 2));
  const std::atomic<bool> cancelled{false};
  const auto account = std::make_shared<Account>();
  std::unique_ptr<Llama> llama;
  const bool loaded = attempt(tally, "load: ", [&] {
    const std::vector<const Backend*> backends = cpu_backends();
    llama = std::make_unique<Llama>(
        *any(backends), account, a, model.sources, quantization, threads, checkpointing, [](double) {}, cancelled);
  });
  if (loaded) use(*llama, tally);
  ++(loaded ? tally.loaded : tally.refused);
  llama.reset();
  if (account->resident != 0) tally.why = "memory is left: " + std::to_string(account->resident) + " bytes";
}

void rounds(const char* name, int64_t count, int64_t seed, void (*round)(Tally&)) {
  Tally tally;
  for (int64_t r = 0; r < count; ++r) {
    generator.seed(static_cast<uint32_t>(seed + r));
    round(tally);
    if (tally.why.empty()) continue;
    std::printf("not ok %s: seed %lld: %s\n", name, static_cast<long long>(seed + r), tally.why.c_str());
    return;
  }
  const bool both = tally.loaded > count / 6 && tally.refused > count / 6;
  std::printf("%sok %s: %lld taken, %lld refused\n", both ? "" : "not ", name, static_cast<long long>(tally.loaded),
              static_cast<long long>(tally.refused));
}

}  // namespace

int main(int, char** arguments) {
  const int64_t count = std::atoll(arguments[1]), seed = std::atoll(arguments[2]);
  rounds("broken CSV", 40 * count, seed, fuzz_csv);
  rounds("near duplicates", count / 2, seed, fuzz_dedup);
  rounds("broken tensors", 10 * count, seed, read_one);
  rounds("broken models and batches", count, seed, use_one);
  return 0;
}
