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

}  // namespace

void broken_streams() {
  holds("two tiles give the same bits in any order of their streams", through_tiles(Missing::kNothing));
  const auto exposed = [](const char* name, Missing missing) {
    holds(name, through_tiles(missing).empty() ? "eight orders gave the same bits" : "");
  };
  exposed("a tile filled before its memory is free is exposed", Missing::kOpened);
  exposed("a tile read before it is filled is exposed", Missing::kDecoded);
  exposed("a tile filled again before it is read is exposed", Missing::kRead);
}

}  // namespace humanizer::cuda
