/** Where a tensor of the base model lies. The format's reader found it; the engine reads and decodes the bytes. */
export interface TensorSource {
  /** Hugging Face name, e.g. model.layers.0.self_attn.q_proj.weight */
  readonly name: string
  /** Hugging Face order: [out, in] */
  readonly shape: readonly number[]
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q6_K'
  readonly file: string
  /** bytes from the start of the file */
  readonly offset: number
  readonly bytes: number
  /** GGUF Llama q and k: the number of heads whose rows are interleaved, put back on load */
  readonly unpermuteHeads?: number
}

export interface Architecture {
  readonly family: 'llama'
  readonly hiddenSize: number
  readonly intermediateSize: number
  readonly layers: number
  readonly heads: number
  readonly keyValueHeads: number
  readonly headSize: number
  readonly vocabularySize: number
  readonly rmsNormEpsilon: number
  readonly ropeTheta: number
  readonly ropeScaling?: {
    readonly type: 'llama3'
    readonly factor: number
    readonly lowFrequencyFactor: number
    readonly highFrequencyFactor: number
    readonly originalMaxPositions: number
  }
  readonly tiedEmbeddings: boolean
  /** tokens: the longest document and the longest sequence of a generation */
  readonly maxPositions: number
  /** q, k and v have a bias */
  readonly qkvBias: boolean
  /** o has one */
  readonly outputBias: boolean
}

/** How the linear layers are held. Embedding, head and norms stay as the file has them. */
export interface Quantization {
  readonly type: 'NF4' | 'None'
  /** values that share a scale; even */
  readonly blockSize: number
  readonly doubleQuantization: boolean
}

export interface LoraConfig {
  readonly rank: number
  readonly alpha: number
  /** in [0, 1) */
  readonly dropout: number
  /** names of linear layers: q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj */
  readonly targetModules: readonly string[]
  /** scale alpha / sqrt(rank) instead of alpha / rank */
  readonly rankStabilized: boolean
  /** of the initial A and of every dropout mask */
  readonly seed: number
}

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

export interface OptimizerState {
  readonly firstMoment: readonly AdapterTensor[]
  readonly secondMoment: readonly AdapterTensor[]
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
  accumulate(adapter: Adapter, batch: Batch, step: number): Promise<{ nll: number; labelTokens: number }>
  /** Scales, clips, AdamW, zeroes the gradients. A non-finite norm skips the update and says finite = false. */
  optimizerStep(adapter: Adapter, options: OptimizerOptions): Promise<{ gradientNorm: number; finite: boolean }>
  discardGradients(adapter: Adapter): void
  /** Dropout off. nll and labelTokens per document; adapter undefined = the base model. */
  evaluate(adapter: Adapter | undefined, batch: Batch): Promise<{ nll: Float64Array; labelTokens: Int32Array }>
  /** A growing key-value cache for one request, bound to one adapter for its life. */
  openSequence(adapter: Adapter | undefined, maxTokens: number): Sequence
  /**
   * Appends tokens to several sequences at once (prefill: many, decode: one) and resolves the logits [vocabulary] after the last token of
   * each. Sequences with different adapters may be mixed. On failure no sequence has grown.
   */
  forward(items: readonly { sequence: Sequence; tokens: Int32Array }[]): Promise<Float32Array[]>
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

/** A copy is returned each time; closed adapters stay alive for the sequences bound to them. */
export interface Adapter {
  readonly config: LoraConfig
  /** Also while a pass over the model is under way: only optimizerStep changes them, and only that is waited for. */
  tensors(): AdapterTensor[]
  /** Sums since the last optimizerStep or discardGradients. Waits for the operation under way: call it between two. */
  gradients(): AdapterTensor[]
  /** As tensors. */
  optimizerState(): { firstMoment: AdapterTensor[]; secondMoment: AdapterTensor[] }
  restoreOptimizer(state: OptimizerState): void
  close(): void
}

export interface Sequence {
  /** tokens appended so far */
  readonly length: number
  close(): void
}

/** A quantised tensor; nf4.h says how its parts make values. */
export interface Nf4Tensor {
  /** two values a byte, the first in the high nibble */
  readonly codes: Uint8Array
  /** [blocks] */
  readonly absmax: Float32Array
  readonly absmaxCode: Uint8Array
  /** one for 256 blocks */
  readonly absmaxScale: Float32Array
  readonly offset: number
}

/** What computes: for run_config.json, since equal bits are promised only where all three are equal. */
export interface EngineInfo {
  readonly instructionPath: 'baseline' | 'avx2' | 'avx512'
  readonly oneDnnVersion: string
  readonly compiler: string
}

export type NativeErrorCode = 'INVALID_ARGUMENT' | 'OUT_OF_MEMORY' | 'DATA_INVALID' | 'CANCELLED' | 'INTERNAL'

export class NativeError extends Error {
  readonly code: NativeErrorCode
  constructor(code: NativeErrorCode, message: string) {
    super(message)
    this.name = 'NativeError'
    this.code = code
  }
}
