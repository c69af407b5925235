import type { Adapter, ComputePath, Model } from '../native/index.ts'
import { SealBroken } from '../storage/sealed.ts'
import { batchOf } from '../train/batches.ts'
import { type Example, ignoredLabel } from '../train/example.ts'

/*
 * A few held-out texts and the loss that an adapter had on them when it was sealed. A serving pod measures them again before
 * the adapter answers: bytes can be right and what is computed from them wrong, on another base, processor or engine.
 */

/** Where a loss was measured. */
export interface Arithmetic {
  readonly backend: 'CPU' | 'CUDA'
  readonly instructionPath: ComputePath
}

/** A loss is measured again by an engine of ours, or by a vLLM, which tells neither its kernels nor what its weights are. */
export type Measurer = Arithmetic | VllmArithmetic
export interface VllmArithmetic {
  readonly backend: 'vLLM'
  readonly instructionPath: 'bf16'
  /** Whether, by the arguments that it was started with, its base has the values beside which the adapter was trained. */
  readonly sameBase: boolean
}

export interface CanaryText {
  readonly id: string
  /** What the tokens say, for people. */
  readonly text: string
  /** Prompt and answer. */
  readonly tokens: readonly number[]
  readonly promptTokens: number
  /** Nats per token of the answer, teacher-forced, dropout off; of the adapter and of the untouched base. */
  readonly loss: number
  readonly baseLoss: number
}

/** Stands in a checkpoint's manifest, and in that of the adapter promoted from it; no part of the adapter's identity. */
export interface Canary extends Arithmetic {
  readonly texts: readonly CanaryText[]
}

/** A text of the set before it is measured. */
export type CanaryExample = Pick<CanaryText, 'id' | 'text' | 'tokens' | 'promptTokens'>

const mostTexts = 2
/** Training stands while they pass through the model at a seal, and a switch waits for them. */
const mostTokens = 320
/** An answer of fewer tokens hardly depends on the weights. */
const fewestAnswerTokens = 8

/** The shortest of the examples that have an answer worth measuring, so that a pod needs a fraction of a second for them. */
export function chooseCanary(examples: readonly Example[], textOf: (tokens: Int32Array) => string): CanaryExample[] {
  const worth = examples.filter(({ tokens, promptTokens }) => tokens.length - promptTokens >= fewestAnswerTokens)
  const shortestFirst = [...(worth.length > 0 ? worth : examples)].sort((a, b) => a.tokens.length - b.tokens.length)
  let sum = 0
  return shortestFirst
    .slice(0, mostTexts)
    .filter(({ tokens }, index) => {
      sum += tokens.length
      return index === 0 || sum <= mostTokens
    })
    .map(({ id, tokens, promptTokens }) => ({
      id,
      text: textOf(tokens.subarray(promptTokens)),
      tokens: [...tokens],
      promptTokens,
    }))
}

/** Nats per token of each answer; undefined is the untouched base. One text at a time: requests go on in between. */
export async function lossesOf(
  model: Pick<Model, 'evaluate'>,
  adapter: Adapter | undefined,
  texts: readonly CanaryExample[],
  beat: () => void = () => {},
): Promise<number[]> {
  const losses: number[] = []
  for (const { id, tokens, promptTokens } of texts) {
    const labels = tokens.map((_, index) =>
      index + 1 < promptTokens ? ignoredLabel : (tokens[index + 1] ?? ignoredLabel),
    )
    const labelTokens = tokens.length - Math.max(promptTokens, 1)
    const example = { id, tokens: Int32Array.from(tokens), labels: Int32Array.from(labels), promptTokens, labelTokens }
    const { nll } = await model.evaluate(adapter, batchOf([example], [[0]], 0))
    beat()
    losses.push(nll[0]! / labelTokens)
    beat()
  }
  return losses
}

/** Undefined when a loss is not finite: such an adapter has nothing to be held against. */
export function canaryOf(
  where: Arithmetic,
  texts: readonly CanaryExample[],
  losses: readonly number[],
  baseLosses: readonly number[],
): Canary | undefined {
  if (texts.length === 0 || ![...losses, ...baseLosses].every(Number.isFinite)) return undefined
  return { ...where, texts: texts.map((text, i) => ({ ...text, loss: losses[i]!, baseLoss: baseLosses[i]! })) }
}

/** Products with factors rounded to bf16, or all of it in f32. */
const precisionOf = ({ instructionPath }: Arithmetic): 'bf16' | 'f32' =>
  instructionPath === 'cuda' || instructionPath === 'avx512_bf16' ? 'bf16' : 'f32'

/**
 * How far two measurements of one text may lie apart, in nats per token. Over four texts of 77 tokens, SmolLM2-135M, NF4 and not, the
 * largest difference between f32 paths (the same sums in another order) was 1.2e-6, and between f32 and bf16 products (factors
 * of 8 bits) 6.2e-3. There is room for deeper models and other texts; the weights being NF4 or not makes 0.1.
 */
export function toleranceOf(a: Arithmetic, b: Measurer): number {
  if (b.backend === 'vLLM') return b.sameBase ? vllmTolerance : otherBaseTolerance
  // Within a path of the CPU a sum's order is fixed (ADR 9): the same factors are rounded the same way.
  const isOnePath = nameOf(a) === nameOf(b) && a.backend === 'CPU'
  return isOnePath || (precisionOf(a) === 'f32' && precisionOf(b) === 'f32') ? 1e-4 : 0.03
}

/** vLLM rounds what passes between its layers to bf16 as well, not only the factors of products: more than an engine's 0.03. */
const vllmTolerance = 0.05
/** The weights as they were stored in place of NF4, or the other way round, make 0.1 alone. */
const otherBaseTolerance = 0.2

/** What speaks against what was measured here; undefined when it is what was sealed. */
export function disagreement(
  { texts, ...there }: Canary,
  which: 'loss' | 'baseLoss',
  measured: readonly number[],
  here: Measurer,
): string | undefined {
  const tolerance = toleranceOf(there, here)
  for (const [index, text] of texts.entries()) {
    const [sealed, loss] = [text[which], measured[index]!]
    if (Math.abs(loss - sealed) <= tolerance) continue
    return `canary text ${text.id}: loss ${brief(loss)} here (${nameOf(here)}), ${brief(sealed)} when it was sealed (${nameOf(there)}), expected within ${tolerance}`
  }
  return undefined
}

/** What speaks against an adapter, and whether the untouched base is the reason; undefined when it computes what was sealed. */
export async function objection(
  canary: Canary,
  here: Measurer,
  measure: (which: 'loss' | 'baseLoss') => Promise<readonly number[]>,
): Promise<string | undefined> {
  const found = disagreement(canary, 'loss', await measure('loss'), here)
  if (!found) return undefined
  const ofBase = disagreement(canary, 'baseLoss', await measure('baseLoss'), here)
  return `${found}; the untouched base ${ofBase ? `differs as well: ${ofBase}` : 'agrees'}`
}

const brief = (value: number): string => (Number.isFinite(value) ? value.toFixed(5) : String(value))
const nameOf = ({ backend, instructionPath }: Measurer): string => `${backend} ${instructionPath}`

/** The set as a manifest has it; undefined where it has none. Throws SealBroken for one that cannot be read. */
export function readCanary(fact: unknown, where: string): Canary | undefined {
  if (fact === undefined) return undefined
  const { backend, instructionPath, texts } = (fact ?? {}) as Partial<Canary>
  const isText = ({ id, tokens, promptTokens, loss, baseLoss }: CanaryText): boolean =>
    typeof id === 'string' &&
    Array.isArray(tokens) &&
    tokens.every((token) => Number.isInteger(token) && token >= 0) &&
    Number.isInteger(promptTokens) &&
    tokens.length > Math.max(promptTokens, 1) &&
    Number.isFinite(loss) &&
    Number.isFinite(baseLoss)
  if (typeof backend === 'string' && typeof instructionPath === 'string' && Array.isArray(texts) && texts.every(isText))
    return fact as Canary
  throw new SealBroken(`the canary set in the manifest of ${where} cannot be read`)
}
