/** One optimizer step as every benchmark of training does it: rank 32 on all seven linear layers, AdamW, clipping. */
import type { Adapter, Batch, LoraConfig, Model } from '../../../trainer-image/native/index.ts'
import { allLinear } from '../../parity/random-model.ts'

export const lora = (dropout: number): LoraConfig => ({
  rank: 32,
  alpha: 16,
  dropout,
  targetModules: allLinear,
  rankStabilized: false,
  seed: 42,
})

/** `step` counts from 1. */
export async function qloraStep(model: Model, adapter: Adapter, batch: Batch, step: number): Promise<void> {
  const { labelTokens } = await model.accumulate(adapter, batch, step)
  await model.optimizerStep(adapter, {
    step,
    learningRate: 1e-4,
    gradientScale: 1 / labelTokens,
    maxGradientNorm: 1,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weightDecay: 0.01,
  })
}

/** Sequences of random tokens, all labelled: a document is made one longer, and its last token is only a label. */
export function fullyLabelled(documents: readonly (readonly number[])[]): Batch {
  const offsets = new Int32Array(documents.length + 1)
  documents.forEach((document, s) => {
    offsets[s + 1] = offsets[s]! + document.length - 1
  })
  return {
    tokens: Int32Array.from(documents.flatMap((document) => document.slice(0, -1))),
    labels: Int32Array.from(documents.flatMap((document) => document.slice(1))),
    documents: offsets,
    sequences: offsets,
    sequenceOrdinals: Int32Array.from(documents.keys()),
  }
}
