/** How the next token is chosen. Ranges are those of the OpenAI API and are checked before they come here. */
export interface Sampling {
  /** 0 is greedy; otherwise logits are divided by it. */
  readonly temperature: number
  /** Keeps the smallest set of tokens whose probabilities reach this sum; 1 keeps all. */
  readonly topP: number
  /** Subtracted once from the logit of every token already generated. */
  readonly presencePenalty: number
  /** Subtracted per earlier occurrence of a generated token. */
  readonly frequencyPenalty: number
  /** Number of alternatives to report with log-probabilities; undefined reports none, not even the chosen token's. */
  readonly topLogprobs: number | undefined
}

export interface TokenLogprob {
  readonly id: number
  /** Natural logarithm of the model's own probability, before temperature, top-p and penalties. */
  readonly logprob: number
}

export interface SampledToken {
  readonly id: number
  readonly logprob: number | undefined
  readonly top: readonly TokenLogprob[]
}

/**
 * Chooses one token. Pure: `random` in [0, 1) decides, and is not used when greedy. Ties go to the lower id.
 * @param counts how often each token was generated already in this answer
 */
export function sample(
  logits: Float32Array,
  sampling: Sampling,
  counts: ReadonlyMap<number, number>,
  random: number,
): SampledToken {
  const penalised = penalise(logits, sampling, counts)
  const id = sampling.temperature === 0 ? argmax(penalised) : draw(penalised, sampling, random)
  if (!Number.isFinite(logits[id])) throw new Error(`logit of token ${id} is ${logits[id]}, expected a finite number`)
  if (sampling.topLogprobs === undefined) return { id, logprob: undefined, top: [] }
  const normaliser = logSumExp(logits)
  return {
    id,
    logprob: logits[id]! - normaliser,
    top: largest(logits, sampling.topLogprobs).map((index) => ({ id: index, logprob: logits[index]! - normaliser })),
  }
}

/** Index of the largest value; the lowest index among equals. */
export function argmax(values: Float32Array): number {
  let best = 0
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index
  return best
}

function penalise(logits: Float32Array, sampling: Sampling, counts: ReadonlyMap<number, number>): Float32Array {
  if ((sampling.presencePenalty === 0 && sampling.frequencyPenalty === 0) || counts.size === 0) return logits
  const penalised = logits.slice()
  for (const [id, count] of counts) {
    penalised[id] = penalised[id]! - sampling.presencePenalty - count * sampling.frequencyPenalty
  }
  return penalised
}

function draw(logits: Float32Array, { temperature, topP }: Sampling, random: number): number {
  const peak = logits[argmax(logits)]!
  const weights = new Float32Array(logits.length)
  let total = 0
  for (let id = 0; id < logits.length; id++) {
    weights[id] = Math.exp((logits[id]! - peak) / temperature)
    total += weights[id]!
  }
  const kept = topP < 1 ? nucleus(weights, topP * total) : { threshold: 0, total }
  let remaining = random * kept.total
  let last = 0
  for (let id = 0; id < weights.length; id++) {
    if (weights[id]! < kept.threshold || weights[id] === 0) continue
    last = id
    remaining -= weights[id]!
    if (remaining < 0) return id
  }
  return last
}

/**
 * The smallest weight of the nucleus that reaches `wanted`, and the sum of all weights from it on. Weights are at most
 * 1. Only those of the class in which the sum is reached are sorted: a flat distribution over a large vocabulary
 * would otherwise cost 20 ms a token.
 */
function nucleus(weights: Float32Array, wanted: number): { threshold: number; total: number } {
  const bits = new Uint32Array(weights.buffer)
  const sums = new Float64Array(CLASSES)
  for (let id = 0; id < weights.length; id++) sums[bits[id]! >>> CLASS_SHIFT]! += weights[id]!
  let above = 0
  let edge = CLASSES - 1
  while (edge > 0 && above + sums[edge]! < wanted) above += sums[edge--]!
  const members = weights.filter((_, id) => bits[id]! >>> CLASS_SHIFT === edge).sort()
  if (members.length === 0) return { threshold: 0, total: above } // top_p rounds to 1
  let index = members.length
  do above += members[--index]!
  while (index > 0 && above < wanted)
  const threshold = members[index]!
  while (index > 0 && members[index - 1] === threshold) above += members[--index]!
  return { threshold, total: above }
}

/** Non-negative floats are ordered as their bits are; the sign, exponent and first 6 bits of the fraction make a class. */
const CLASS_SHIFT = 17
const CLASSES = (new Uint32Array(Float32Array.of(1).buffer)[0]! >>> CLASS_SHIFT) + 1

function logSumExp(logits: Float32Array): number {
  const peak = logits[argmax(logits)]!
  let sum = 0
  for (const logit of logits) sum += Math.exp(logit - peak)
  return peak + Math.log(sum)
}

/** Indices of the `count` largest values, largest first. `count` is at most 20, so insertion is cheapest. */
function largest(values: Float32Array, count: number): number[] {
  const best: number[] = []
  if (count === 0) return best
  for (let index = 0; index < values.length; index++) {
    if (best.length === count && values[index]! <= values[best[count - 1]!]!) continue
    let place = best.length
    while (place > 0 && values[index]! > values[best[place - 1]!]!) place--
    best.splice(place, 0, index)
    if (best.length > count) best.pop()
  }
  return best
}
