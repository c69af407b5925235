/** Whether a merged model computes what its base does with the adapter beside it. */
import { JobFailure } from '../job/failure.ts'
import { openModel } from '../model/open.ts'
import type { StoredAdapter } from '../model/peft.ts'
import { loadModel, type Model } from '../native/index.ts'
import { threadsOfQuota } from '../train/threads.ts'

export interface Proof {
  /** |merged − adapted| / |adapted| over the logits behind all probes. */
  readonly logitError: number
  /** |base − adapted| / |adapted|: what the adapter does. */
  readonly adapterEffect: number
}

/**
 * Rounding a weight to BF16 moves it by at most 2^-9 of its size, 0.11 % root mean square. Every linear layer adds that much noise to what
 * passes it, so seven in each of 32 layers give √224 · 0.11 % = 1.7 % at the end; three times that is a wrong model, not rounding.
 */
export const toleratedError = 0.05

/** Sentences of no training set; the logits behind each are compared. */
const probes = [
  'The ferry left at six, and nobody on the quay waved.',
  'Dear Mr. Alvarez, thank you for the 14 boxes that came on Tuesday.',
  'To replace the filter, first close the valve; then turn the housing to the left.',
  'She had not read the letter twice. “It says what it says,” she told him,',
  'In 1987 the council voted 9 to 4 against the bridge.',
  'the',
]

/**
 * Compares the folder `merged` with the base at `basePath` and the adapter in it, all unquantised. One model is in memory at a time.
 * VerificationFailed when they are further apart than toleratedError, or than half of what the adapter does: then rounding loses it.
 */
export async function proveMerged(basePath: string, adapter: StoredAdapter, merged: string): Promise<Proof> {
  const [base, adapted] = await withModel(basePath, async (model, prompts) => {
    const loaded = await model.loadAdapter({ ...adapter.config, seed: 0 }, adapter.tensors)
    try {
      return [await logitsOf(model, undefined, prompts), await logitsOf(model, loaded, prompts)] as const
    } finally {
      loaded.close()
    }
  })
  const found = await withModel(merged, (model, prompts) => logitsOf(model, undefined, prompts))
  const proof = { logitError: distance(found, adapted), adapterEffect: distance(base, adapted) }
  judge(proof)
  return proof
}

/** NaN passes no comparison. */
export function judge({ logitError, adapterEffect }: Proof): void {
  const figures = `the merged model's logits are ${percent(logitError)} from those of base and adapter`
  if (!(logitError <= toleratedError))
    throw new JobFailure('VerificationFailed', `${figures}, expected at most ${percent(toleratedError)}`)
  if (logitError * 2 > adapterEffect)
    throw new JobFailure(
      'VerificationFailed',
      `${figures}, and the base's own are ${percent(adapterEffect)} from them: rounding loses the adapter; serve it as form Adapter`,
    )
}

const percent = (share: number): string => `${Number((share * 100).toPrecision(3))} %`

async function withModel<T>(
  path: string,
  use: (model: Model, prompts: readonly Int32Array[]) => Promise<T>,
): Promise<T> {
  const { architecture, tensors, tokenizer } = await openModel(path)
  const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
  const model = await loadModel(architecture, tensors, { quantization, threads: threadsOfQuota() })
  try {
    return await use(
      model,
      probes.map((text) => tokenizer.encode(text)),
    )
  } finally {
    model.close()
  }
}

/** Behind each prompt, one after another. */
async function logitsOf(
  model: Model,
  adapter: Parameters<Model['openSequence']>[0],
  prompts: readonly Int32Array[],
): Promise<Float32Array[]> {
  const all: Float32Array[] = []
  for (const tokens of prompts) {
    const sequence = model.openSequence(adapter, tokens.length, tokens.length)
    try {
      all.push((await model.forward([{ sequence, tokens }]))[0]!)
    } finally {
      sequence.close()
    }
  }
  return all
}

/** What is added to all logits of one position changes no probability, so each position is taken without its mean. */
function distance(a: readonly Float32Array[], b: readonly Float32Array[]): number {
  let [apart, size] = [0, 0]
  for (const [row, logits] of b.entries()) {
    const others = a[row]!
    const [middle, othersMiddle] = [meanOf(logits), meanOf(others)]
    for (const [i, logit] of logits.entries()) {
      const centred = logit - middle
      apart += (others[i]! - othersMiddle - centred) ** 2
      size += centred ** 2
    }
  }
  return Math.sqrt(apart / size)
}

const meanOf = (values: Float32Array): number => values.reduce((sum, value) => sum + value, 0) / values.length
