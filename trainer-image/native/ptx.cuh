// The instructions that CUDA C++ has no function for, one each; the only inline assembly of the engine. test/cuda/ has
// a header of this name with a body per lane after the PTX documentation's fragment tables.
//
// Fragments of mma.m16n8k16 (PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type"), with
// group = lane / 4 and pair = lane % 4 * 2, two bf16 in a register, the lower column (a, b: k) in the lower half:
//   a[0] (group, pair)  a[1] (group + 8, pair)  a[2] (group, pair + 8)  a[3] (group + 8, pair + 8)      of A (16, k 16)
//   b[0] (pair, group)  b[1] (pair + 8, group)                                                          of B (k 16, 8)
//   d[0..1] (group, pair), (group, pair + 1)  d[2..3] (group + 8, pair), (group + 8, pair + 1)          of D (16, 8)
#pragma once

#include <cstdint>
#include <launch.cuh>

namespace humanizer::cuda {

// d += a b.  All 32 lanes.
__device__ inline void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8x8 matrices of 16-bit values from shared memory. Lane l gives the address of row l % 8 of matrix l / 8, aligned
// to 16 bytes; it receives of matrix i the values (l / 4, l % 4 * 2) and the one after it in r[i]. All 32 lanes.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// The same, each matrix transposed on the way: r[i] has the values (l % 4 * 2, l / 4) and the one below it.
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(row)))
               : "memory");
}

// 16 bytes from global to shared memory, past the registers; both aligned to 16. Of them `bytes` are read, the rest are
// zeros: with 0 nothing of `global` is touched. They are there after copy_async_wait and a barrier.
__device__ inline void copy_async_16(void* shared, const void* global, int bytes) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))),
      "l"(__cvta_generic_to_global(global)), "r"(bytes)
      : "memory");
}

// Closes this thread's group of copies.
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of this thread's newest groups are still on their way.
template <int kPending>
__device__ inline void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// Two bf16 in one register, rounded to nearest even.
__device__ inline uint32_t pack_bf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

// 2^x, relative error 2^-22; a subnormal result is 0.
__device__ inline float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace humanizer::cuda
