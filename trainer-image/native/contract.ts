/** Bytes of a file. */
export interface FilePart {
  readonly file: string
  /** bytes from the start of the file */
  readonly offset: number
  readonly bytes: number
}

/** What bitsandbytes saved beside the codes of a tensor in 4 bits; nf4.h says how the parts make values. */
export interface Nf4Parts {
  /** values that share a scale; even */
  readonly blockSize: number
  /** [16] f32: the values of the codes */
  readonly map: FilePart
  /** [blocks] scales: f32, or codes of one byte when they are nested */
  readonly absmax: FilePart
  /** Double quantisation. map: [256] f32. absmax: one f32 for 256 blocks. offset: added to every scale. */
  readonly nested?: { readonly map: FilePart; readonly absmax: FilePart; readonly offset: number }
}

/** Where a tensor of the base model lies. The format's reader found it; the engine reads and decodes the bytes. */
export interface TensorSource {
  /** Hugging Face name, e.g. model.layers.0.self_attn.q_proj.weight */
  readonly name: string
  /** Hugging Face order: [out, in] */
  readonly shape: readonly number[]
  readonly dtype: 'F32' | 'F16' | 'BF16' | 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q6_K' | 'NF4'
  /** Of dtype NF4, and of no other: the bytes below are then the codes, two a byte. */
  readonly nf4?: Nf4Parts
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
  /** q, k and v are one matrix, qkv_proj, and gate and up another, gate_up_proj: as files and adapters have them */
  readonly fusedProjections: boolean
}

/**
 * How the linear layers are held; None: as the file has them. Embedding, head and norms stay as the file has them, and so does
 * every layer of a base that was saved in 4 bits.
 */
export interface Quantization {
  readonly type: 'NF4' | 'None'
  /** values that share a scale; even */
  readonly blockSize: number
  readonly doubleQuantization: boolean
}

/**
 * Which activations of a training pass wait for its backward pass; the rest is made again. Loss, gradients and adapter are the same bits.
 * None: all that is read. Selective: not the outputs of norms and SwiGLU, which cost little. Full: each layer's input; the layers run
 * forward twice.
 */
export type ActivationCheckpointing = 'None' | 'Selective' | 'Full'

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

/**
 * The kernels of one kind of processor. avx512_bf16 rounds the factors of the linear layers' products to bf16 and adds in f32
 * (bf16_matmul.h, bf16_lora.h); the others compute in f32.
 */
export type InstructionPath = 'baseline' | 'avx2' | 'avx512' | 'avx512_bf16'
/** An instruction path of the processor, or the GPU with activations in bf16 or f32. */
export type ComputePath = InstructionPath | 'cuda' | 'cuda_f32'

/** Of one operation of the engine, all its calls together. */
export interface OpTime {
  readonly op: string
  readonly calls: number
  readonly seconds: number
  /** Multiplications and additions that the mathematics needs: of products, adapters and attention, else 0. */
  readonly operations: number
}

/** What computes: for run_config.json, since equal bits are promised only where all three are equal. */
export interface EngineInfo {
  /** that a model takes unless loadModel is given another: the widest whose products are f32 */
  readonly instructionPath: InstructionPath
  /** that this processor has, the narrowest first */
  readonly instructionPaths: readonly InstructionPath[]
  /** whether it was built with the CUDA kernels: only then are 'cuda' and 'cuda_f32' more than an error */
  readonly cuda: boolean
  readonly oneDnnVersion: string
  readonly compiler: string
}

/** Of the GPU that the paths 'cuda' and 'cuda_f32' compute on. */
export interface DeviceMemory {
  readonly freeBytes: number
  readonly totalBytes: number
}

/** Of the same GPU, as NVIDIA's management library tells; a figure that it does not give is absent. */
export interface GpuReadings {
  /** of the last sample period, 1/6 to 1 s, in which a kernel ran */
  readonly utilizationPercent?: number
  /** on the whole GPU, by anyone */
  readonly memoryUsedBytes?: number
  readonly memoryTotalBytes?: number
  readonly powerWatts?: number
  readonly temperatureCelsius?: number
  /** the first of its calls that failed, and why */
  readonly problem?: string
}

export type NativeErrorCode =
  | 'INVALID_ARGUMENT'
  | 'OUT_OF_MEMORY'
  | 'DATA_INVALID'
  | 'CANCELLED'
  /** No driver, one that is too old, no device, or an engine for the CPU alone: the message says what to do. */
  | 'DEVICE_UNAVAILABLE'
  /** An ECC error or a device that fell off the bus: the process cannot use it any more. */
  | 'DEVICE_LOST'
  | 'INTERNAL'

export class NativeError extends Error {
  readonly code: NativeErrorCode
  constructor(code: NativeErrorCode, message: string) {
    super(message)
    this.name = 'NativeError'
    this.code = code
  }
}
