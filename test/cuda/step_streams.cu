// How a step runs on the device: nothing in it is allocated or waited for, frozen matrices are decoded beside it, and
// one whose shapes come again runs as a graph.
#include <cstdio>

#include "emulator/emulator.h"
#include "error.h"
#include "step_cases.h"

namespace humanizer::cuda {

void report(const std::string& name, const std::string& problem) {
  std::printf(problem.empty() ? "ok %s\n" : "not ok %s: %s\n", name.c_str(), problem.c_str());
  std::fflush(stdout);
}

std::string same(const Record& a, const Record& b) {
  if (a.losses != b.losses) return "another loss";
  if (a.gradients != b.gradients) return "another gradient";
  if (a.parameters != b.parameters) return "another parameter";
  if (a.evaluation != b.evaluation) return "another evaluation";
  return a.logits == b.logits ? "" : "other logits";
}

void captured() {
  Training t{&cuda_f32_backend(), families(8)[2].architecture, Checkpointing::kFull, 2};
  const Record free = train(t);
  capture_steps(1);
  const Record as_graph = train(t);
  capture_steps(2);
  report("a step captured as a graph has the same bits", same(as_graph, free));
  bool once = true;
  for (const int64_t waited : free.waits) once = once && waited == 1;
  report("the host waits once for a step's gradients and once for its update", once ? "" : "it waits more often");
}

namespace {

// Layers whose inputs go to the host, all but two.
constexpr int64_t kDeep = 5;

// Steps of two shapes in turn, of other tokens, ordinals and learning rates each.
Record alternate(const Training& t, int64_t turn) {
  capture_steps(turn);
  Model model(t);
  Record record;
  for (int step = 1; step <= t.steps; ++step) {
    Batch batch = model.document(step % 2 == 0 ? 18 : 21);
    batch.ordinals = {step};
    const int64_t before = waits();
    const StepLoss loss = model.accumulate(batch, step);
    record.waits.push_back(waits() - before);
    record.losses.push_back(loss.nll);
    record.not_kept += loss.not_kept;
    record.gradients.push_back(model.download(model.adapter().gradients()));
    model.update(loss, step, 1e-3 * step);
  }
  record.parameters.push_back(model.download(model.adapter().parameters()));
  capture_steps(2);
  return record;
}

// The losses and gradients of a step in a pass for each sequence, whose layouts differ.
Record of_passes(const Backend& backend, uint64_t seed, Checkpointing checkpointing = Checkpointing::kSelective,
                 int64_t layers = 2) {
  emulated_cuda::set_seed(seed);
  Training t{&backend, families(8)[2].architecture, checkpointing};
  t.architecture.layers = layers;
  Model model(t);
  Record record;
  for (int step = 1; step <= 2; ++step) record.losses.push_back(model.accumulate(model.batch(3), step).nll);
  record.gradients.push_back(model.download(model.adapter().gradients()));
  emulated_cuda::set_seed(0);
  return record;
}

std::string since(const KeptSteps& before, int64_t captured, int64_t replayed) {
  const KeptSteps now = kept_steps();
  if (now.captured - before.captured == captured && now.replayed - before.replayed == replayed) return {};
  return std::to_string(now.captured - before.captured) + " were captured and " +
         std::to_string(now.replayed - before.replayed) + " replayed";
}

}  // namespace

void kept() {
  Training t{&cuda_backend(), families(8)[1].architecture, Checkpointing::kFull, 8};
  Record plain = alternate(t, 0);
  KeptSteps before = kept_steps();
  const Record replayed = alternate(t, 2);
  report("steps that run again as graphs have the bits of steps that do not", same(replayed, plain));
  report("each of two shapes is captured once, when it comes again, then replayed", since(before, 2, 4));
  bool once = true;
  for (size_t step = 1; step < replayed.waits.size(); ++step) once = once && replayed.waits[step] == 1;
  report("a step that runs again as a graph waits once", once ? "" : "it waits more often");

  capture_steps(1);
  before = kept_steps();
  {
    Model model(t);
    for (const int64_t tokens : {2, 3, 4, 5, 6, 7, 7, 2}) model.accumulate(model.document(tokens), 1);
  }
  report("graphs are kept of four shapes, and a fifth makes room",
         kept_steps().kept != 4 ? std::to_string(kept_steps().kept) + " are kept" : since(before, 7, 1));

  t.steps = 3;
  plain = alternate(t, 0);
  const auto refused = [&](const char* call, cudaError_t instantiation, cudaError_t launch) {
    emulated_cuda::refuse_graphs(instantiation, launch);
    const Record as_it_comes = alternate(t, 2);
    emulated_cuda::refuse_graphs(cudaSuccess);
    std::string problem = same(as_it_comes, plain);
    // Of three steps in two shapes one comes again.
    if (as_it_comes.not_kept != kept_steps().refused ||
        as_it_comes.not_kept.find(std::string(call) + ": cudaErrorMemoryAllocation") != 0) {
      problem += "; the reason is '" + as_it_comes.not_kept + "'";
    }
    report(std::string("a step that cannot be kept runs as it comes, and says why: ") + call, problem);
  };
  refused("cudaGraphInstantiate", cudaErrorMemoryAllocation, cudaSuccess);
  refused("cudaGraphLaunch", cudaSuccess, cudaErrorMemoryAllocation);
  emulated_cuda::set_memory(emulated_cuda::allocated_bytes() + (size_t{8} << 20));
  const Record crowded = alternate(t, 2);
  emulated_cuda::set_memory(size_t{64} << 30);
  std::string problem = same(crowded, plain);
  if (crowded.not_kept.find("operations may take") == std::string::npos) problem += "; '" + crowded.not_kept + "'";
  report("a graph takes no more than half of the memory that is free", problem);

  Backend wide = cuda_backend();
  wide.begin = [](std::span<const int64_t> key, size_t upload_bytes) {
    return cuda_backend().begin(key, key.empty() ? upload_bytes : upload_bytes + (size_t{16} << 20));
  };
  t.backend = &wide;
  const Record large = alternate(t, 2);
  problem = same(large, plain);
  if (large.not_kept.find("bytes of input exceed") == std::string::npos) problem += "; '" + large.not_kept + "'";
  report("a step whose input exceeds the pinned memory runs as it comes, and says why", problem);

  t.backend = &cuda_backend();
  t.keep_steps = false;
  before = kept_steps();
  problem = same(alternate(t, 2), plain);
  report("no step is kept of a model that may keep none", problem + since(before, 0, 0));
}

void offloaded() {
  Training t{&cuda_backend(), families(8)[1].architecture, Checkpointing::kFull, 2};
  t.architecture.layers = kDeep;
  const Record on_device = train(t);
  t.checkpointing = Checkpointing::kOffload;
  std::string problem;
  for (const uint64_t seed : {1, 3}) {
    emulated_cuda::set_seed(seed);
    problem += same(train(t), on_device);
  }
  emulated_cuda::set_seed(0);
  report("layers' inputs that wait on the host give the same bits in any order", problem);
  Backend in_passes = cuda_backend();
  in_passes.group_tokens = 1;
  const Record expected = of_passes(in_passes, 0, Checkpointing::kFull, kDeep);
  problem = same(of_passes(in_passes, 3, Checkpointing::kOffload, kDeep), expected);
  report("and in passes that follow each other through the same memory of the host", problem);
  t.steps = 4;
  const Record plain = alternate(t, 0);
  const KeptSteps before = kept_steps();
  const Record replayed = alternate(t, 2);
  report("and in steps that run as graphs", same(replayed, plain) + since(before, 2, 0));
  bool once = true;
  for (size_t step = 1; step < replayed.waits.size(); ++step) once = once && replayed.waits[step] == 1;
  report("a step whose inputs go to the host waits once", once ? "" : "it waits more often");
}

// ---------------------------------------------------------------------------------------------------------------------
// Blocks larger than the pinned memory

void large_blocks() {
  const Memory& memory = cuda_backend().memory;
  constexpr size_t kBytes = (size_t{36} << 20) + 5;
  std::vector<char> there(kBytes), back(kBytes);
  for (size_t i = 0; i < kBytes; ++i) there[i] = static_cast<char>(i * 2654435761u >> 13);
  std::string problem;
  for (const uint64_t seed : {1, 2}) {
    emulated_cuda::set_seed(seed);
    void* block = memory.allocate(kBytes, false);
    memory.upload(block, there.data(), kBytes);
    memory.upload(block, there.data() + 3, 1);  // behind it, through the same pinned memory
    memory.download(back.data(), block, kBytes);
    memory.release(block, kBytes);
    if (back[0] != there[3]) problem = "the later byte did not come";
    back[0] = there[0];
    if (back != there) problem = "other bytes came back";
  }
  emulated_cuda::set_seed(0);
  report("36 MiB go to the device and back through 16 that are pinned", problem);
}

// ---------------------------------------------------------------------------------------------------------------------
// Broken on purpose

namespace {

void allocate_within(Rows x, const int32_t* positions, const float* table, int64_t head_size, bool backward) {
  const Memory& memory = cuda_f32_backend().memory;
  void* block = memory.allocate(64, false);
  cuda_f32_backend().rope(x, positions, table, head_size, backward);
  memory.release(block, 64);
}
void wait_within(Rows x, const int32_t* positions, const float* table, int64_t head_size, bool backward) {
  cuda_f32_backend().rope(x, positions, table, head_size, backward);
  cuda_f32_backend().synchronize();
}

// Reports whether one of eight orders gives other bits than `expected`.
void exposed(const char* name, const Backend& backend, const Record& expected,
             Checkpointing checkpointing = Checkpointing::kSelective, int64_t layers = 2) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    if (!same(of_passes(backend, seed, checkpointing, layers), expected).empty()) return report(name, "");
  }
  report(name, "eight orders gave the right bits");
}

// Of each slot, whether its last copy brought something back.
bool fetching[2];

void broken_offload() {
  Backend right = cuda_f32_backend();
  right.group_tokens = 1;
  const Record expected = of_passes(right, 0, Checkpointing::kOffload, kDeep);
  Backend marked = right;
  marked.offload = [](int slot, void* host, const void* from, size_t bytes) {
    fetching[slot] = false;
    cuda_f32_backend().offload(slot, host, from, bytes);
  };
  marked.fetch = [](int slot, void* to, const void* host, size_t bytes) {
    fetching[slot] = true;
    cuda_f32_backend().fetch(slot, to, host, bytes);
  };
  Backend unfetched = marked, unsent = marked;
  unfetched.copied = [](int slot) {
    if (!fetching[slot]) cuda_f32_backend().copied(slot);
  };
  unsent.copied = [](int slot) {
    if (fetching[slot]) cuda_f32_backend().copied(slot);
  };
  exposed("a layer that does not wait for its input's way back is exposed", unfetched, expected,
          Checkpointing::kOffload, kDeep);
  exposed("an input overwritten before the host has it is exposed", unsent, expected, Checkpointing::kOffload, kDeep);
}

void broken_tiles() {
  Backend right = cuda_f32_backend();
  right.group_tokens = 1;
  const Record expected = of_passes(right, 0);
  std::string problem;
  for (uint64_t seed = 1; seed < 4; ++seed) problem += same(of_passes(right, seed), expected);
  report("matrices decoded beside the products give the same bits in any order", problem);
  Backend reread = right, unopened = right, undecoded = right;
  reread.tile_read = [](int) {};
  exposed("a tile that is filled again while it is read is exposed", reread, expected);
  undecoded.tile_decoded = [](int) {};
  exposed("a product that reads a tile before it is decoded is exposed", undecoded, expected);
  unopened.open_tiles = [] {};
  exposed("a tile that is filled before its memory is free is exposed", unopened, expected);
}

}  // namespace

void broken_steps() {
  Backend allocating = cuda_f32_backend(), waiting = cuda_f32_backend();
  allocating.rope = allocate_within;
  waiting.rope = wait_within;
  Training t{&allocating, families(8)[2].architecture, Checkpointing::kFull, 2};
  std::string said = "nothing was refused";
  capture_steps(1);
  try {
    train(t);
  } catch (const Error& error) {
    said = error.what();
  }
  t.backend = &cuda_f32_backend();
  report("a step that allocates is refused", said.find("cudaErrorStreamCapture") != std::string::npos ? "" : said);
  said = same(train(t), [&] {
    capture_steps(2);
    return train(t);
  }());
  report("after a refused step the next is right", said);
  t.backend = &waiting;
  const Record record = train(t);
  report("a step that waits is noticed", record.waits[0] > 1 ? "" : "it seems to wait once");
  broken_tiles();
  broken_offload();
}

}  // namespace humanizer::cuda
