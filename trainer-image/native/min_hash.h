// MinHash of a set: h_j = min over i < count of (values[i] ^ flip[j]) * factor[j], 32 bits, j < kMinHashes.
//
// Integer arithmetic: the same bits on every instruction path.
#pragma once

#include <cstddef>
#include <cstdint>

namespace humanizer {

constexpr int kMinHashes = 256;

// minima, flip, factor (kMinHashes); factors are odd, so that each function is a permutation of 32 bits. count > 0.
using MinHashOp = void(uint32_t* minima, const uint32_t* values, size_t count, const uint32_t* flip,
                       const uint32_t* factor);

}  // namespace humanizer
