import type { Architecture } from './base-model.ts'

/**
 * Which activations of a training pass wait for its backward pass; the rest is made again. Loss, gradients and adapter are the same bits.
 * None: all that is read. Selective: not the outputs of norms and SwiGLU, which cost little. Full: each layer's input; the layers run
 * forward twice. Offload: as Full; on a GPU all inputs but the last two wait in the host's memory.
 */
export type ActivationCheckpointing = 'None' | 'Selective' | 'Full' | 'Offload'

export interface LoraConfig {
  readonly rank: number
  readonly alpha: number
  /** in [0, 1) */
  readonly dropout: number
  /** names of linear layers: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; of fused ones see fusedProjections */
  readonly targetModules: readonly string[]
  /** scale alpha / sqrt(rank) instead of alpha / rank */
  readonly rankStabilized: boolean
  /** of the initial A and of every dropout mask */
  readonly seed: number
  /** how optimizerStep keeps its moments; absent: AdamW */
  readonly optimizer?: Optimizer
}

/** AdamW8bit: both moments in 8 bits as bitsandbytes keeps them (adamw8bit.h), f32 in matrices of fewer than 4096 values. */
export type Optimizer = 'AdamW' | 'AdamW8bit'

/** One packed micro-batch of T tokens: rows concatenated; documents never attend across boundaries, positions restart at each. */
export interface Batch {
  /** [T] */
  readonly tokens: Int32Array
  /** [T] label of position i is the NEXT token, shifted by the caller; -100 = ignored */
  readonly labels: Int32Array
  /** [D+1] offsets into tokens, ascending, first 0, last T */
  readonly documents: Int32Array
  /** [S+1] offsets of the packed sequences; each is also the offset of a document */
  readonly sequences: Int32Array
  /** [S] ordinal of each packed sequence in the effective batch: with the offset in the sequence it fixes the dropout mask */
  readonly sequenceOrdinals: Int32Array
}

export interface AdapterTensor {
  /** PEFT's key: base_model.model.model.layers.N.self_attn.q_proj.lora_A.weight */
  readonly name: string
  readonly shape: readonly [number, number]
  readonly data: Float32Array
}

/** A moment of one tensor of an adapter: f32 values, or with AdamW8bit codes of one byte and a scale for each 256 of them. */
export interface MomentTensor {
  /** the adapter tensor's */
  readonly name: string
  readonly shape: readonly [number, number]
  readonly data: Float32Array | Uint8Array
  /** [ceil(values / 256)], with codes */
  readonly absmax?: Float32Array
}

export interface OptimizerState {
  readonly firstMoment: readonly MomentTensor[]
  readonly secondMoment: readonly MomentTensor[]
}

/** Sums of one micro-batch. */
export interface StepLoss {
  /** negative log-likelihood, in nats */
  readonly nll: number
  readonly labelTokens: number
  /** when nll is not finite: where activations ceased to be, "layer 3" (0-based) or "head" */
  readonly nonFinite?: string
  /** why the GPU could not keep the step as a graph, at the turn at which it tried: the step ran as it came */
  readonly notKept?: string
}

export interface StepOutcome {
  /** of the scaled gradients, before clipping */
  readonly gradientNorm: number
  /** false: the update was skipped */
  readonly finite: boolean
  /** of those parameters whose gradient is not finite the one that backward reached first, by PEFT's key */
  readonly nonFinite?: string
}

export interface OptimizerOptions {
  /** 1-based */
  readonly step: number
  readonly learningRate: number
  /** multiplies the summed gradients first: 1 / label tokens of the effective batch */
  readonly gradientScale: number
  /** 0: no clipping */
  readonly maxGradientNorm: number
  readonly beta1: number
  readonly beta2: number
  readonly epsilon: number
  readonly weightDecay: number
}

/**
 * An open base model with its own thread. One operation at a time: calls queue in their order.
 */
export interface Model {
  readonly architecture: Architecture
  /** A uniform in ±1/sqrt(in) from Philox(seed) (PEFT's kaiming_uniform), B zero. */
  createAdapter(config: LoraConfig): Promise<Adapter>
  /** Every target's tensors once, with the right shape, and no others, else DATA_INVALID naming the first. */
  loadAdapter(config: LoraConfig, tensors: readonly AdapterTensor[]): Promise<Adapter>
  /** Forward and backward; ADDS gradients of the SUM of the negative log-likelihood. step: optimizer step, 1-based; dropout on. */
  accumulate(adapter: Adapter, batch: Batch, step: number): Promise<StepLoss>
  /** Scales, clips, AdamW, zeroes the gradients. A non-finite norm skips the update and says finite = false. */
  optimizerStep(adapter: Adapter, options: OptimizerOptions): Promise<StepOutcome>
  discardGradients(adapter: Adapter): void
  /** Dropout off. nll and labelTokens per document; adapter undefined = the base model. */
  evaluate(adapter: Adapter | undefined, batch: Batch): Promise<{ nll: Float64Array; labelTokens: Int32Array }>
  /** Dropout off. What a model thinks of each document's labels; adapter undefined = the base model. */
  likelihoods(adapter: Adapter | undefined, batch: Batch): Promise<Likelihood[]>
  /**
   * A growing key-value cache for one request, bound to one adapter for its life. promptTokens: the length of its whole prompt (0: none),
   * however many calls of `forward` read it. With bf16 factors it decides how the prompt is multiplied, so that the same tokens give the same
   * bits in whatever parts they are read and whoever is read beside them.
   */
  openSequence(adapter: Adapter | undefined, maxTokens: number, promptTokens?: number): Sequence
  /**
   * Appends tokens to several sequences at once (prefill: many, decode: one) and resolves the logits [vocabulary] after the last token of
   * each. Sequences with different adapters may be mixed. On failure no sequence has grown.
   */
  forward(items: readonly { sequence: Sequence; tokens: Int32Array }[]): Promise<Float32Array[]>
  /**
   * The same, of whose logits the engine keeps all but what becomes of them: the token that each choice gives after the last token of its
   * sequence, nothing where there is none (a part of a prompt). The same token on every compute path where the logits are the same.
   */
  sample(
    items: readonly { sequence: Sequence; tokens: Int32Array; choice: TokenChoice | undefined }[],
  ): Promise<(SampledToken | undefined)[]>
  /** Of a model that was loaded timed: what ran since the last call, the longest first. */
  takeOpTimes(): OpTime[]
  /** Bytes of weights, adapters, caches and scratch of this model. */
  memory(): { residentBytes: number; peakBytes: number }
  /**
   * Rejects with CANCELLED what runs, at its next layer, and what is queued; later calls run. An accumulate that was cut
   * off leaves a part of its gradients: discard them.
   */
  cancel(): void
  /** Rejects what is queued or running with CANCELLED and frees the weights. */
  close(): void
}

/** How the next token is chosen; sampling.h says it exactly. */
export interface TokenChoice {
  /** 0 is greedy; otherwise logits are divided by it */
  readonly temperature: number
  /** keeps the smallest set of tokens whose probabilities reach this sum; 1 keeps all */
  readonly topP: number
  /** decides, in [0, 1) */
  readonly random: number
  /** of the likeliest tokens to tell with their log-probabilities, 0 to 20; -1: no log-probability is told, not the chosen token's either */
  readonly alternatives: number
  /** [n] each once; from its logit the amount of the same place is subtracted */
  readonly tokens: Int32Array
  /** [n] */
  readonly penalties: Float32Array
}

export interface TokenLogprob {
  readonly id: number
  /** natural logarithm of the model's own probability, before temperature, topP and penalties */
  readonly logprob: number
}

export interface SampledToken {
  readonly id: number
  /** not finite: the model gave no number to choose by */
  readonly logit: number
  /** where the choice's alternatives are 0 or more */
  readonly logprob?: number
  /** the alternatives, the likeliest first; ties go to the lower id */
  readonly top: readonly TokenLogprob[]
}

/** Sums over the labels of a document, with p the model's distribution at each. */
export interface Likelihood {
  /** Σ log p(label) */
  readonly logProbability: number
  /** Σ E[log p(v)], v drawn from p: what logProbability would be on average if the model itself had written */
  readonly mean: number
  /** Σ Var[log p(v)] */
  readonly variance: number
  readonly labelTokens: number
}

/** A copy is returned each time; closed adapters stay alive for the sequences bound to them. */
export interface Adapter {
  readonly config: LoraConfig
  /** Also while a pass over the model is under way: only optimizerStep changes them, and only that is waited for. */
  tensors(): AdapterTensor[]
  /** Sums since the last optimizerStep or discardGradients. Waits for the operation under way: call it between two. */
  gradients(): AdapterTensor[]
  /** As tensors. */
  optimizerState(): { firstMoment: MomentTensor[]; secondMoment: MomentTensor[] }
  /** DATA_INVALID unless the state is of this adapter's tensors and its optimizer. */
  restoreOptimizer(state: OptimizerState): void
  close(): void
}

export interface Sequence {
  /** tokens appended so far */
  readonly length: number
  close(): void
}

/** Of one operation of the engine, all its calls together. */
export interface OpTime {
  readonly op: string
  readonly calls: number
  readonly seconds: number
  /** Multiplications and additions that the mathematics needs: of products, adapters and attention, else 0. */
  readonly operations: number
}
