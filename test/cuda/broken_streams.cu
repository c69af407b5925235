// Two streams that hand memory to each other with one of their events missing: each must be noticed.
#include <launch.cuh>
#include <string>
#include <vector>

#include "buffers.h"
#include "contract.h"
#include "same_bits.h"

namespace humanizer::cuda {
namespace {

__global__ void fill(float* tile, float value) { tile[threadIdx.x] = value + static_cast<float>(threadIdx.x); }
__global__ void read(float* sums, const float* tile) {
  sums[threadIdx.x] = sums[threadIdx.x] * 3 + tile[63 - threadIdx.x];
}

// The double buffer of cuda_stream.cu: matrices go through two tiles, whose memory had another use before, each filled
// beside the product that reads the other. `missing`: the event that nobody waits for.
enum class Missing { kNothing, kOpened, kDecoded, kRead };
std::string through_tiles(Missing missing) {
  return same_bits([&] {
    const Stream products, beside;
    const Event opened, decoded[2], was_read[2];
    const Device<float> tiles(128), sums(std::vector<float>(64, 1.0f));
    for (int tile = 0; tile < 2; ++tile) launch(fill, 1, 64, 0, products, tiles.data() + 64 * tile, -5.0f);
    expect(cudaEventRecord(opened, products));
    if (missing != Missing::kOpened) expect(cudaStreamWaitEvent(beside, opened));
    for (int matrix = 0; matrix < 6; ++matrix) {
      const int t = matrix % 2;
      float* tile = tiles.data() + 64 * t;
      if (matrix >= 2 && missing != Missing::kRead) expect(cudaStreamWaitEvent(beside, was_read[t]));
      launch(fill, 1, 64, 0, beside, tile, static_cast<float>(matrix));
      expect(cudaEventRecord(decoded[t], beside));
      if (missing != Missing::kDecoded) expect(cudaStreamWaitEvent(products, decoded[t]));
      launch(read, 1, 64, 0, products, sums.data(), tile);
      expect(cudaEventRecord(was_read[t], products));
    }
    expect(cudaDeviceSynchronize());
    return sums.values();
  });
}

// The layers' inputs of llama_passes.cc under kOffload: they are made in two places in turn, wait in the host's memory
// and come back while the next but one is used. `missing`: what does not wait. An input is copied once it is made, its
// place made anew once it is copied, filled again once its last reader is done, and read once it is filled.
enum class Early { kNothing, kOffload, kNext, kFetch, kRead };
std::string through_host(Early early) {
  return same_bits([&] {
    constexpr int kLayers = 6;
    const Stream work, copies;
    const Event asked, never, copied[2];
    const Device<float> places(128), sums(std::vector<float>(64, 1.0f));
    const Pinned<float> host(64 * (kLayers - 2));
    const auto copy = [&](int layer, cudaMemcpyKind kind, bool at_once) {
      float *place = places.data() + 64 * (layer % 2), *waiting = host.data() + 64 * layer;
      expect(cudaEventRecord(at_once ? never : asked, work));
      if (!at_once) expect(cudaStreamWaitEvent(copies, asked));
      const bool leaves = kind == cudaMemcpyDeviceToHost;
      expect(cudaMemcpyAsync(leaves ? waiting : place, leaves ? place : waiting, 64 * sizeof(float), kind, copies));
      expect(cudaEventRecord(copied[layer % 2], copies));
    };
    for (int layer = 0; layer < kLayers; ++layer) {
      if (layer >= 2 && early != Early::kNext) expect(cudaStreamWaitEvent(work, copied[layer % 2]));
      launch(fill, 1, 64, 0, work, places.data() + 64 * (layer % 2), static_cast<float>(3 * layer));
      if (layer + 2 < kLayers) copy(layer, cudaMemcpyDeviceToHost, early == Early::kOffload);
    }
    for (int layer = kLayers - 1; layer >= 0; --layer) {
      if (layer + 2 < kLayers && early != Early::kRead) expect(cudaStreamWaitEvent(work, copied[layer % 2]));
      launch(read, 1, 64, 0, work, sums.data(), places.data() + 64 * (layer % 2));
      if (layer >= 2) copy(layer - 2, cudaMemcpyHostToDevice, early == Early::kFetch);
    }
    expect(cudaDeviceSynchronize());
    return sums.values();
  });
}

}  // namespace

void broken_streams() {
  holds("two tiles give the same bits in any order of their streams", through_tiles(Missing::kNothing));
  const auto exposed = [](const char* name, const std::string& problem) {
    holds(name, problem.empty() ? "eight orders gave the same bits" : "");
  };
  exposed("a tile filled before its memory is free is exposed", through_tiles(Missing::kOpened));
  exposed("a tile read before it is filled is exposed", through_tiles(Missing::kDecoded));
  exposed("a tile filled again before it is read is exposed", through_tiles(Missing::kRead));
  holds("inputs that wait on the host come back in any order of the streams", through_host(Early::kNothing));
  exposed("an input copied before it is made is exposed", through_host(Early::kOffload));
  exposed("an input overwritten before it is copied is exposed", through_host(Early::kNext));
  exposed("an input fetched while its place is read is exposed", through_host(Early::kFetch));
  exposed("an input read before it has come back is exposed", through_host(Early::kRead));
}

}  // namespace humanizer::cuda
