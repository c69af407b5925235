/** How many threads of a kernel fit on a multiprocessor: the sums of NVIDIA's occupancy calculator. */
import type { Capability } from './sources.ts'

/** CUDA C++ Programming Guide, "Technical Specifications per Compute Capability". */
interface Multiprocessor {
  readonly threads: number
  readonly blocks: number
  readonly sharedBytes: number
}

const registers = 65536
const warp = 32
/** Registers are given to a warp in portions of this many. */
const registerPortion = 256
/** Shared memory that each block loses to the system. */
const reservedShared = 1024
const sharedPortion = 128

const multiprocessors: Readonly<Record<Capability, Multiprocessor>> = {
  80: { threads: 2048, blocks: 32, sharedBytes: 164 * 1024 },
  86: { threads: 1536, blocks: 16, sharedBytes: 100 * 1024 },
  89: { threads: 1536, blocks: 24, sharedBytes: 100 * 1024 },
  90: { threads: 2048, blocks: 32, sharedBytes: 228 * 1024 },
  100: { threads: 2048, blocks: 32, sharedBytes: 228 * 1024 },
  120: { threads: 1536, blocks: 24, sharedBytes: 100 * 1024 },
}

const up = (value: number, portion: number): number => Math.ceil(value / portion) * portion

/** Resident threads over those that the multiprocessor can hold, 0 to 1; 0 when not one block fits. */
export function occupancy(
  capability: Capability,
  block: { readonly threads: number; readonly registers: number; readonly sharedBytes: number },
): number {
  const has = multiprocessors[capability]
  const warps = Math.ceil(block.threads / warp)
  const byThreads = Math.floor(has.threads / (warps * warp))
  const byRegisters = Math.floor(Math.floor(registers / up(block.registers * warp, registerPortion)) / warps)
  const byShared = Math.floor(has.sharedBytes / up(block.sharedBytes + reservedShared, sharedPortion))
  return (Math.min(has.blocks, byThreads, byRegisters, byShared) * warps * warp) / has.threads
}
