/** Operations and bytes of each operation of a QLoRA training step, as the kernels of trainer-image/native/*.cu move them. */

export interface Model {
  readonly layers: number
  readonly hidden: number
  readonly intermediate: number
  readonly queries: number
  readonly keyValues: number
  readonly vocabulary: number
}

export interface Step {
  /** Tokens of the micro-batch, all labelled. */
  readonly tokens: number
  /** Tokens of each packed document: what attention grows with. */
  readonly document: number
  readonly rank: number
  /**
   * Full runs each layer but the last forward again before its backward pass, all but the product of down, whose output nobody reads, and makes
   * the logits again.
   */
  readonly recompute: 'None' | 'Full'
}

/** What bounds an operation's share of the limit: the large products, attention, LoRA's thin products, or memory alone. */
export type Kind = 'products' | 'attention' | 'thin' | 'memory' | 'mask'

export interface Work {
  readonly name: string
  readonly kind: Kind
  /** Multiplications and additions on tensor cores. */
  readonly flops: number
  /** Read from and written to the device's memory. */
  readonly bytes: number
  /** 32-bit integer operations of one lane. */
  readonly integers: number
}

export const llama3B: Model = {
  layers: 28,
  hidden: 3072,
  intermediate: 8192,
  queries: 3072,
  keyValues: 1024,
  vocabulary: 128256,
}

const BF16 = 2
const F32 = 4
/** Four bits, an 8-bit scale per 64 values and an f32 one per 256 of those. */
const NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
/**
 * A Philox counter of ten rounds serves eight values. As compiled for 9.0 it is 20 wide multiplications, counted twice, 20 exclusive ors and 4 or 5
 * operations a value to compare and choose: some 100 in all, and 12 for addresses.
 */
const INTEGERS_OF_A_MASK_VALUE = 14

interface Linear {
  readonly in: number
  readonly out: number
  /** How many LoRA modules read the same input; each draws its own mask. */
  readonly modules: readonly number[]
  /** Whether its output is added to what is there: then LoRA's part reads it too. */
  readonly onto: boolean
}

function linears(m: Model): readonly Linear[] {
  return [
    { in: m.hidden, out: m.queries + 2 * m.keyValues, modules: [m.queries, m.keyValues, m.keyValues], onto: false },
    { in: m.queries, out: m.hidden, modules: [m.hidden], onto: true },
    { in: m.hidden, out: 2 * m.intermediate, modules: [m.intermediate, m.intermediate], onto: false },
    { in: m.intermediate, out: m.hidden, modules: [m.hidden], onto: true },
  ]
}

/** Weights of the frozen linear layers and the head: the N of "4N operations a token". */
export const computeParameters = (m: Model): number =>
  m.layers * sum(linears(m).map((l) => l.in * l.out)) + m.hidden * m.vocabulary

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

export const loraParameters = (m: Model, rank: number): number =>
  m.layers * sum(linears(m).flatMap((l) => l.modules.map((out) => rank * (l.in + out))))

/** One micro-batch with its optimizer step. */
export function stepWork(m: Model, s: Step): readonly Work[] {
  const T = s.tokens
  const again = s.recompute === 'Full' ? (m.layers - 1) / m.layers : 0
  const forwards = 1 + again
  const each = linears(m)
  const down = m.intermediate * m.hidden
  const weights = sum(each.map((l) => l.in * l.out))
  const activations = sum(each.map((l) => T * (l.in + l.out) * BF16))
  const sums = sum(each.map((l) => T * l.out * BF16))
  const heads = T * m.queries * BF16
  const keys = T * m.keyValues * BF16
  const layer = (name: string, kind: Kind, times: number, flops: number, bytes: number, integers = 0): Work => ({
    name,
    kind,
    flops: m.layers * times * flops,
    bytes: m.layers * times * bytes,
    integers: m.layers * times * integers,
  })
  const modules = each.flatMap((l) => l.modules.map((out) => ({ in: l.in, out, onto: l.onto })))
  const thin = sum(modules.map((l) => 2 * T * s.rank * (l.in + l.out)))
  const drawn = sum(modules.map((l) => T * l.in)) * INTEGERS_OF_A_MASK_VALUE
  // LoRA writes its part of y, to which the large product adds. With the bits of the mask: written once, read for dA and for dx.
  const forwardBytes = sum(modules.map((l) => T * ((l.in + (l.onto ? 2 : 1) * l.out) * BF16 + l.in / 8)))
  // The first of the modules that read the same x writes its part of dx, to which the others and the large product add.
  const written = sum(each.map((l) => T * l.in * BF16))
  const backwardBytes = sum(modules.map((l) => T * ((2 * l.out + 3 * l.in) * BF16 + l.in / 4))) - written
  const adapter = loraParameters(m, s.rank)
  const head = m.hidden * m.vocabulary
  const logits = T * m.vocabulary
  const all: readonly Work[] = [
    layer('linear layers, forward', 'products', 1, 2 * T * weights, weights * BF16 + activations + sums),
    layer(
      'linear layers, made again',
      'products',
      again,
      2 * T * (weights - down),
      (weights - down) * BF16 + activations + sums - T * (m.intermediate + 2 * m.hidden) * BF16,
    ),
    layer(
      'linear layers, gradient of the input',
      'products',
      1,
      2 * T * weights,
      weights * BF16 + activations + written,
    ),
    layer('NF4 dequantisation', 'memory', 1, 0, (2 * weights + again * (weights - down)) * (NF4 + BF16)),
    layer('attention forward', 'attention', forwards, 2 * T * s.document * m.queries, 2 * (heads + keys)),
    // Seven products where five would do: dK and dV are one kernel, dQ another, so that no sum needs an atomic.
    layer('attention backward', 'attention', 1, 7 * T * s.document * m.queries, 8 * heads + 6 * keys),
    layer('LoRA forward', 'thin', forwards, thin, forwardBytes),
    layer('LoRA backward', 'thin', 1, 2 * thin, backwardBytes),
    // Once forward, whose bits wait for backward; where layers run forward again nothing waits, and backward draws it once more.
    layer("LoRA's mask, drawn", 'mask', s.recompute === 'Full' ? forwards + 1 : 1, 0, 0, drawn),
    layer('RMSNorm, forward and backward', 'memory', 1, 0, T * m.hidden * BF16 * 2 * (2 * forwards + 4)),
    layer('RoPE, forward and backward', 'memory', forwards + 1, 0, 2 * (heads + keys)),
    layer('SwiGLU forward', 'memory', forwards, 0, 3 * T * m.intermediate * BF16),
    layer('SwiGLU backward', 'memory', 1, 0, 5 * T * m.intermediate * BF16),
    {
      name: "head's products, logits and their gradient",
      kind: 'products',
      flops: (again > 0 ? 6 : 4) * T * head,
      bytes: (again > 0 ? 3 : 2) * head * BF16 + logits * ((again > 0 ? 2 : 1) * F32 + BF16),
      integers: 0,
    },
    { name: 'cross-entropy', kind: 'memory', flops: 0, bytes: logits * (2 * F32 + BF16), integers: 0 },
    // Norm, gradient twice, parameter twice, two moments of a byte twice.
    { name: '8-bit AdamW and the norm', kind: 'memory', flops: 0, bytes: adapter * (5 * F32 + 4), integers: 0 },
  ]
  return all.filter(({ flops, bytes, integers }) => flops + bytes + integers > 0)
}
