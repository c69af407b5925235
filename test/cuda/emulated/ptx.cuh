// The instructions of the engine's ptx.cuh, a body per lane each. Fragments as the PTX ISA draws them ("Matrix
// Fragments for mma.m16n8k16 with floating point type", "ldmatrix"); cp.async lands as late as it may.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <launch.cuh>

namespace humanizer::cuda {

#define EMULATED_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMULATED_HERE \
  emulated_cuda::Site { __func__, file, line }

struct MmaLane {
  float* d;
  const uint32_t *a, *b;
};

inline float bf16_half(uint32_t word, int half) { return std::bit_cast<float>(half ? word & 0xffff0000u : word << 16); }

// Products and sums in double: a device keeps at least what a float keeps of each product, in an order that it does not
// tell.
inline void mma_complete(void* const* lanes, uint32_t) {
  float a[16][16], b[16][8];
  for (int lane = 0; lane < 32; ++lane) {
    const auto* part = static_cast<const MmaLane*>(lanes[lane]);
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 8; ++i) {
      const int row = group + (i / 2 % 2 ? 8 : 0), k = pair + (i & 1) + (i >= 4 ? 8 : 0);
      a[row][k] = bf16_half(part->a[i / 2], i & 1);
    }
    for (int i = 0; i < 4; ++i) b[pair + (i & 1) + (i >= 2 ? 8 : 0)][group] = bf16_half(part->b[i / 2], i & 1);
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto* part = static_cast<const MmaLane*>(lanes[lane]);
    for (int i = 0; i < 4; ++i) {
      const int row = lane / 4 + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
      double sum = static_cast<double>(part->d[i]);
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * static_cast<double>(b[k][column]);
      part->d[i] = static_cast<float>(sum);
    }
  }
}

inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], EMULATED_SITE) {
  MmaLane part{d, a, b};
  emulated_cuda::warp_meeting(0xffffffffu, EMULATED_HERE, &part, mma_complete);
}

struct LdmatrixLane {
  uint32_t* r;
  const void* row;
};

template <bool kTransposed>
void ldmatrix_complete(void* const* lanes, uint32_t) {
  uint16_t matrix[4][8][8];
  for (int lane = 0; lane < 32; ++lane)
    std::memcpy(matrix[lane / 8][lane % 8], static_cast<const LdmatrixLane*>(lanes[lane])->row, 16);
  for (int lane = 0; lane < 32; ++lane) {
    uint32_t* const r = static_cast<const LdmatrixLane*>(lanes[lane])->r;
    const int group = lane / 4, pair = lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      const uint32_t low = kTransposed ? matrix[i][pair][group] : matrix[i][group][pair];
      const uint32_t high = kTransposed ? matrix[i][pair + 1][group] : matrix[i][group][pair + 1];
      r[i] = high << 16 | low;
    }
  }
}

template <bool kTransposed>
void ldmatrix(uint32_t (&r)[4], const void* row, emulated_cuda::Site site) {
  emulated_cuda::expect_shared(row, 16, "ldmatrix");
  emulated_cuda::expect_aligned(row, 16, "ldmatrix");
  LdmatrixLane part{r, row};
  emulated_cuda::warp_meeting(0xffffffffu, site, &part, ldmatrix_complete<kTransposed>);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, EMULATED_SITE) { ldmatrix<false>(r, row, EMULATED_HERE); }
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, EMULATED_SITE) {
  ldmatrix<true>(r, row, EMULATED_HERE);
}
#undef EMULATED_HERE
#undef EMULATED_SITE

inline void copy_async_16(void* shared, const void* global, int bytes) {
  emulated_cuda::copy_async(shared, global, bytes, 16);
}
inline void copy_async_commit() { emulated_cuda::copy_async_commit(); }
template <int kPending>
void copy_async_wait() {
  emulated_cuda::copy_async_wait(kPending);
}

inline uint32_t pack_bf16(float low, float high) {
  return static_cast<uint32_t>(__nv_bfloat16(high).bits) << 16 | __nv_bfloat16(low).bits;
}

inline float exp2_approx(float x) {
  const auto y = static_cast<float>(std::exp2(static_cast<double>(x)));
  return std::fpclassify(y) == FP_SUBNORMAL ? 0.0f : y;
}

}  // namespace humanizer::cuda
