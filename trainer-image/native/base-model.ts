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
