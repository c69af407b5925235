/** Which policy of activation checkpointing a run takes, by what it would take in memory (memory-items.ts) and what there is. */
import { failureOf, JobFailure } from '../job/failure.ts'
import type { ActivationCheckpointing } from '../native/index.ts'
import {
  type MemoryItems,
  type MemoryNeeds,
  memoryItems,
  offloadedBytes,
  onDevice,
  textNeedsOf,
  totalOf,
} from './memory-items.ts'
import { groupTokensOf } from './pass-shape.ts'
import { graphBytes } from './step-graphs.ts'
import { TEXTS_AT_ONCE, textsWithinStep } from './text-memory.ts'

/** How a run's memory was planned; stands in run_config.json. Figures are bytes. */
export interface MemoryPlan {
  readonly activationCheckpointing: ActivationCheckpointing
  /** Why this policy. */
  readonly reason: string
  readonly items: MemoryItems
  readonly total: number
  /** What this process may take altogether: what it holds and what is left of the container's limit and of the machine; or of the GPU's memory. */
  readonly limit: number
  /** How many texts of full length may be written beside each other between two steps. */
  readonly textsAtOnce: number
  /** Of the host's memory, beside a GPU's: what waits there pinned under Offload. Absent where nothing does. */
  readonly offloaded?: number
}

/** From the least time to the least memory. */
const policies: readonly ActivationCheckpointing[] = ['None', 'Selective', 'Full', 'Offload']

/** What Auto tries. On a CPU Offload is Full: there is no other memory. */
const policiesOf = (needs: MemoryNeeds): readonly ActivationCheckpointing[] =>
  onDevice(needs) ? policies : policies.filter((policy) => policy !== 'Offload')

/**
 * Auto takes the first policy that fits; one that is named is taken or refused. On a GPU the rest is for CUDA graphs, if it holds all that a run
 * can come to keep; without them steps run as they come, which costs less than another policy would. `available`: bytes that are still free for
 * this process, or of a GPU; `ofHost` beside the latter: for this process. Throws DeviceOutOfMemory with the plan and the settings that would fit.
 */
export function planMemory(
  needs: MemoryNeeds,
  asked: 'Auto' | ActivationCheckpointing,
  gradientAccumulation: number,
  available: number,
  ofHost = Number.POSITIVE_INFINITY,
): MemoryPlan {
  const limit = needs.heldByNode + available
  const sizes: string[] = []
  for (const activationCheckpointing of asked === 'Auto' ? policiesOf(needs) : [asked]) {
    const items = memoryItems(needs, activationCheckpointing)
    const total = totalOf(items)
    const offloaded = offloadedBytes(needs, activationCheckpointing)
    const pinned = offloaded > 0 ? ` and ${mebibytes(offloaded)} of the host's, which has ${mebibytes(ofHost)}` : ''
    sizes.push(`${activationCheckpointing} needs ${mebibytes(total)}${pinned}`)
    if (total > limit || offloaded > ofHost) continue
    const graphs = graphBytes(needs, activationCheckpointing)
    const kept = total + graphs <= limit ? graphs : 0
    const told = `${asked === 'Auto' ? 'Auto' : 'as asked'}: ${sizes.join(', ')} of ${mebibytes(limit)}`
    const reason = kept === graphs ? told : `${told}; no CUDA graphs, which would take ${mebibytes(graphs)} more`
    const plan = { activationCheckpointing, reason, items: { ...items, graphs: kept }, total: total + kept, limit }
    const texts = textsAtOnce(needs, items, limit - plan.total)
    return { ...plan, textsAtOnce: texts, ...(offloaded > 0 && { offloaded }) }
  }
  throw new JobFailure(
    'DeviceOutOfMemory',
    `the run does not fit in ${onDevice(needs) ? "the GPU's memory" : 'memory'}: ${sizes.join(', ')}, ` +
      `${onDevice(needs) ? 'it has free' : 'this process may take'} ${mebibytes(limit)} ` +
      `(${told(memoryItems(needs, asked === 'Auto' ? policiesOf(needs).at(-1)! : asked))}); ` +
      `expected ${whatFits(needs, asked, gradientAccumulation, { limit, ofHost }).join(', or ')}`,
  )
}

/**
 * On a GPU, which writes many in the time of one, as many as the step's memory has room for, or as half of what the plan leaves free holds
 * beside the one that is planned; on a CPU that one.
 */
function textsAtOnce(needs: MemoryNeeds, items: MemoryItems, left: number): number {
  if (!onDevice(needs)) return 1
  const texts = textNeedsOf(needs, items)
  return Math.min(TEXTS_AT_ONCE, Math.max(textsWithinStep(texts), 1 + Math.floor(left / 2 / texts.cache)))
}

const told = (items: MemoryItems): string =>
  Object.entries(items)
    .map(([item, bytes]) => `${item} ${mebibytes(bytes)}`)
    .join(', ')

/** What the engine could not allocate in spite of the plan says neither what was planned nor what would take less; anything else as it is. */
export function beyondPlan(error: unknown, { total, limit, items }: MemoryPlan, training: Trained): unknown {
  if (error instanceof JobFailure || failureOf(error).reason !== 'DeviceOutOfMemory') return error
  const { microBatchSize: size, gradientAccumulation, maxSequenceLength } = training
  const group = groupTokensOf(items.node === 0)
  const smaller =
    size % 2 === 0 && (size / 2) * maxSequenceLength < group
      ? `training.microBatchSize is ${size}: microBatchSize ${size / 2} with gradientAccumulation ${gradientAccumulation * 2} trains the same in less memory`
      : `training.maxSequenceLength is ${maxSequenceLength}: a shorter one needs less`
  const planned = `planned were ${mebibytes(total)} of ${mebibytes(limit)} (${told(items)})`
  return new JobFailure('DeviceOutOfMemory', `${failureOf(error).message}; ${planned}; ${smaller}`, { cause: error })
}

interface Trained {
  readonly microBatchSize: number
  readonly gradientAccumulation: number
  readonly maxSequenceLength: number
}

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`

/** Each alone would do; the last is always there. */
function whatFits(
  needs: MemoryNeeds,
  asked: 'Auto' | ActivationCheckpointing,
  gradientAccumulation: number,
  { limit, ofHost }: { readonly limit: number; readonly ofHost: number },
): string[] {
  const { microBatchSize, maxSequenceLength } = needs
  const least = asked === 'Auto' ? policiesOf(needs).at(-1)! : asked
  const excess = (change: Partial<MemoryNeeds>, policy: ActivationCheckpointing = least): number => {
    const changed = { ...needs, ...change }
    return Math.max(totalOf(memoryItems(changed, policy)) - limit, offloadedBytes(changed, policy) - ofHost)
  }
  const settings: string[] = []
  if (policiesOf(needs).some((policy) => excess({}, policy) <= 0))
    settings.push('training.activationCheckpointing Auto')
  const size = divisorsBelow(microBatchSize).find((size) => excess({ microBatchSize: size }) <= 0)
  if (size !== undefined) {
    const accumulation = (gradientAccumulation * microBatchSize) / size
    settings.push(`training.microBatchSize ${size} with gradientAccumulation ${accumulation}`)
  }
  const length = lengthsBelow(maxSequenceLength).find((length) => excess({ maxSequenceLength: length }) <= 0)
  if (length !== undefined) settings.push(`training.maxSequenceLength ${length}`)
  const [more, moreOfHost] = [totalOf(memoryItems(needs, least)) - limit, offloadedBytes(needs, least) - ofHost]
  const higher = (bytes: number): string => `a memory limit that is ${mebibytes(bytes)} higher`
  const machine = [
    more <= 0 ? [] : onDevice(needs) ? `a GPU with ${mebibytes(more)} more` : higher(more),
    moreOfHost <= 0 ? [] : higher(moreOfHost),
  ]
  return [...settings, machine.flat().join(' and ')]
}

/** From the largest. */
const divisorsBelow = (count: number): number[] =>
  Array.from({ length: count - 1 }, (_, i) => count - 1 - i).filter((size) => count % size === 0)

/** Multiples of 32, the shortest that a run may ask for, from the largest. */
const lengthsBelow = (length: number): number[] =>
  Array.from({ length: Math.ceil(length / 32) - 1 }, (_, i) => 32 * (Math.ceil(length / 32) - 1 - i))
