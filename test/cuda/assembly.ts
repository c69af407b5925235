/** What the compiler and the disassembler say about kernels, read from their output. */
import type { Capability } from './sources.ts'

/** What one kernel takes on one architecture. */
export interface Resources {
  readonly registers: number
  /** Bytes of local memory: arrays that are not kept in registers, and spills. */
  readonly stack: number
  readonly spillStores: number
  readonly spillLoads: number
  /** Bytes of static shared memory. */
  readonly shared: number
}

/** How often an instruction of a kind stands in a kernel's code. */
export interface Instructions {
  /** 16 bytes at once from, and to, global memory. */
  wideLoads: number
  wideStores: number
  /** cp.async: from global to shared memory past the registers. */
  asyncCopies: number
  matrixLoads: number
  tensorProducts: number
}

const kinds: readonly [keyof Instructions, RegExp][] = [
  ['wideLoads', /^LDG\.E(\.\w+)*\.128/],
  ['wideStores', /^STG\.E(\.\w+)*\.128/],
  ['asyncCopies', /^LDGSTS/],
  ['matrixLoads', /^LDSM/],
  ['tensorProducts', /^HMMA/],
]

/**
 * A symbol as another compiler writes it: nvcc names the anonymous namespace after the file and the process, which would make each
 * compilation's names its own.
 */
export function plainSymbol(symbol: string): string {
  const found = /(\d+)_GLOBAL__N__/.exec(symbol)
  if (!found?.[1]) return symbol
  const begin = found.index + found[1].length
  return `${symbol.slice(0, found.index)}12_GLOBAL__N_1${symbol.slice(begin + Number(found[1]))}`
}

/** Of `ptxas -v`: resources by symbol and architecture. */
export function resourcesOf(output: string): Map<string, Map<Capability, Resources>> {
  const all = new Map<string, Map<Capability, Resources>>()
  let symbol = ''
  let capability: Capability | undefined
  let memory = { stack: 0, spillStores: 0, spillLoads: 0 }
  for (const line of output.split('\n')) {
    const entry = /Compiling entry function '(\S+)' for 'sm_(\d+)'/.exec(line)
    if (entry) {
      symbol = plainSymbol(entry[1] ?? '')
      capability = Number(entry[2]) as Capability
    }
    const frame = /(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line)
    if (frame) memory = { stack: Number(frame[1]), spillStores: Number(frame[2]), spillLoads: Number(frame[3]) }
    const used = /Used (\d+) registers/.exec(line)
    if (!used || !capability) continue
    const shared = Number(/(\d+) bytes smem/.exec(line)?.[1] ?? 0)
    const kernel = all.get(symbol) ?? new Map<Capability, Resources>()
    all.set(symbol, kernel.set(capability, { registers: Number(used[1]), ...memory, shared }))
    capability = undefined
  }
  return all
}

/** Of `cuobjdump -sass`: instructions by symbol and architecture. */
export function instructionsOf(output: string): Map<string, Map<Capability, Instructions>> {
  const all = new Map<string, Map<Capability, Instructions>>()
  let capability = 0
  let counts: Instructions | undefined
  for (const line of output.split('\n')) {
    const architecture = /^arch = sm_(\d+)/.exec(line)
    if (architecture) capability = Number(architecture[1])
    const begin = /^\s*Function : (\S+)/.exec(line)
    if (begin) {
      counts = { wideLoads: 0, wideStores: 0, asyncCopies: 0, matrixLoads: 0, tensorProducts: 0 }
      const symbol = plainSymbol(begin[1] ?? '')
      const kernel = all.get(symbol) ?? new Map<Capability, Instructions>()
      all.set(symbol, kernel.set(capability as Capability, counts))
    }
    const instruction = /^\s+\/\*[0-9a-f]{4,}\*\/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)/.exec(line)?.[1]
    if (!instruction || !counts) continue
    for (const [kind, pattern] of kinds) if (pattern.test(instruction)) counts[kind] += 1
  }
  return all
}

/** Of `cuobjdump -ptx`: the launch bounds by symbol, where a kernel states them. */
export function threadsOf(output: string): Map<string, number> {
  const threads = new Map<string, number>()
  for (const [, symbol, bound] of output.matchAll(/^(?:\.visible )?\.entry (\w+)\([^{]*?\)\s*\n\.maxntid (\d+)/gm))
    threads.set(plainSymbol(symbol ?? ''), Number(bound))
  return threads
}
