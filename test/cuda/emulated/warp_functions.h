// Barriers, shuffles, votes and reductions: what a thread does together with its block or its warp.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../emulator/block.h"

// Where the call stands: threads that meet must stand at the same place.
#define EMULATED_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMULATED_HERE \
  emulated_cuda::Site { __func__, file, line }

inline void __syncthreads(EMULATED_SITE) { emulated_cuda::block_barrier(EMULATED_HERE, 0); }
inline int __syncthreads_count(int predicate, EMULATED_SITE) {
  return emulated_cuda::block_barrier(EMULATED_HERE, predicate != 0);
}
inline int __syncthreads_or(int predicate, EMULATED_SITE) {
  return emulated_cuda::block_barrier(EMULATED_HERE, predicate != 0) != 0;
}
inline int __syncthreads_and(int predicate, EMULATED_SITE) {
  return emulated_cuda::block_barrier(EMULATED_HERE, predicate == 0) == 0;
}
inline void __syncwarp(unsigned mask = 0xffffffffu, EMULATED_SITE) {
  emulated_cuda::warp_meeting(mask, EMULATED_HERE, nullptr, nullptr);
}

namespace emulated_cuda {

// One lane's part in a shuffle: what it gives, whom it asks, what it gets. A lane that is asked without being in the
// mask gives poison.
template <class T>
struct Shuffle {
  T value;
  int source;

  static void complete(void* const* lanes, uint32_t mask) {
    T given[32], poison;
    std::memset(&poison, 0xFF, sizeof poison);
    for (int lane = 0; lane < 32; ++lane)
      given[lane] = mask >> lane & 1u ? static_cast<Shuffle*>(lanes[lane])->value : poison;
    for (int lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1u)) continue;
      auto* part = static_cast<Shuffle*>(lanes[lane]);
      part->value = given[part->source];
    }
  }
};

template <class T>
T shuffle(unsigned mask, T value, int source, Site site) {
  static_assert(std::is_trivially_copyable_v<T> && (sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 2));
  Shuffle<T> part{value, source};
  warp_meeting(mask, site, &part, Shuffle<T>::complete);
  return part.value;
}

// One lane's part in a vote or a reduction over the mask's lanes: the value, and what came out.
template <class T, class Combine>
T combined(unsigned mask, T value, Site site, Combine) {
  const auto complete = [](void* const* lanes, uint32_t present) {
    T result{};
    bool first = true;
    for (int lane = 0; lane < 32; ++lane) {
      if (!(present >> lane & 1u)) continue;
      const T given = *static_cast<T*>(lanes[lane]);
      result = first ? given : Combine{}(result, given);
      first = false;
    }
    for (int lane = 0; lane < 32; ++lane)
      if (present >> lane & 1u) *static_cast<T*>(lanes[lane]) = result;
  };
  warp_meeting(mask, site, &value, complete);
  return value;
}

}  // namespace emulated_cuda

// Lanes of a segment of `width`, as the guide's "Warp Shuffle Functions" counts them.
template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATED_SITE) {
  const int lane = emulated_cuda::lane(), segment = lane & ~(width - 1);
  return emulated_cuda::shuffle(mask, value, segment + (source & (width - 1)), EMULATED_HERE);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32, EMULATED_SITE) {
  const int lane = emulated_cuda::lane(), end = (lane & ~(width - 1)) + width;
  const int source = lane ^ other;
  return emulated_cuda::shuffle(mask, value, source < end ? source : lane, EMULATED_HERE);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_SITE) {
  const int lane = emulated_cuda::lane(), end = (lane & ~(width - 1)) + width;
  const int source = lane + static_cast<int>(delta);
  return emulated_cuda::shuffle(mask, value, source < end ? source : lane, EMULATED_HERE);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATED_SITE) {
  const int lane = emulated_cuda::lane(), start = lane & ~(width - 1);
  const int source = lane - static_cast<int>(delta);
  return emulated_cuda::shuffle(mask, value, source >= start ? source : lane, EMULATED_HERE);
}

inline unsigned __ballot_sync(unsigned mask, int predicate, EMULATED_SITE) {
  const unsigned own = predicate ? 1u << emulated_cuda::lane() : 0u;
  return emulated_cuda::combined(mask, own, EMULATED_HERE, [](unsigned a, unsigned b) { return a | b; });
}
inline int __any_sync(unsigned mask, int predicate, EMULATED_SITE) {
  return emulated_cuda::combined(mask, int{predicate != 0}, EMULATED_HERE, [](int a, int b) { return a | b; });
}
inline int __all_sync(unsigned mask, int predicate, EMULATED_SITE) {
  return emulated_cuda::combined(mask, int{predicate != 0}, EMULATED_HERE, [](int a, int b) { return a & b; });
}
#define EMULATED_REDUCE(name, T, expression)                                                              \
  inline T __reduce_##name##_sync(unsigned mask, T value, EMULATED_SITE) {                                \
    return emulated_cuda::combined(mask, value, EMULATED_HERE, [](T a, T b) -> T { return expression; }); \
  }
EMULATED_REDUCE(add, unsigned, a + b)
EMULATED_REDUCE(add, int, static_cast<int>(static_cast<unsigned>(a) + static_cast<unsigned>(b)))
EMULATED_REDUCE(max, unsigned, a > b ? a : b)
EMULATED_REDUCE(max, int, a > b ? a : b)
EMULATED_REDUCE(min, unsigned, a < b ? a : b)
EMULATED_REDUCE(min, int, a < b ? a : b)
EMULATED_REDUCE(or, unsigned, a | b)
EMULATED_REDUCE(and, unsigned, a& b)
#undef EMULATED_REDUCE
#undef EMULATED_HERE
#undef EMULATED_SITE
