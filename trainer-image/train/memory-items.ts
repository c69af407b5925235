/**
 * What a training run takes in memory at its peak, before it is loaded: bytes by item, from the run's own figures. The engine's items follow
 * llama_passes.cc (plan), llama_weights.cc and adapter.cc; test/parity/memory-plan.test.ts holds them against what the engine then takes.
 */
import { type LinearModule, linearModules, moduleShape } from '../model/llama.ts'
import type { ActivationCheckpointing, Architecture, LoraConfig, Quantization, TensorSource } from '../native/index.ts'
import { groupTokensOf, type Lengths, largestPass, type PassShape } from './pass-shape.ts'
import { type TextNeeds, textPass, textsBeyondStep } from './text-memory.ts'
import { adapterBytes, optimizerBytes, weightBytes } from './weight-memory.ts'

export interface MemoryNeeds {
  readonly architecture: Architecture
  readonly tensors: readonly Pick<TensorSource, 'name' | 'shape' | 'bytes' | 'nf4'>[]
  readonly quantization: Quantization
  /** Absent optimizer: AdamW. */
  readonly lora: Pick<LoraConfig, 'rank' | 'dropout' | 'optimizer'> & {
    readonly targetModules: readonly LinearModule[]
  }
  readonly threads: number
  /** Products with frozen weights take bf16 factors: bf16_matmul.h. */
  readonly bf16Products: boolean
  readonly lengths: Lengths
  readonly microBatchSize: number
  readonly maxSequenceLength: number
  /** Bytes that this process holds already, before anything is loaded; of a GPU, which it does not take, 0. */
  readonly heldByNode: number
  /** On a GPU: bytes of an activation. What is planned is its memory then. */
  readonly activationBytes?: 2 | 4 | undefined
}

/** Bytes at the peak, by what takes them. */
export interface MemoryItems {
  /** As held: NF4 codes and scales, or as stored; norms and biases as float32. */
  readonly baseWeights: number
  /** LoRA's parameters, float32. */
  readonly adapter: number
  readonly gradients: number
  /** Both moments: float32, or 8-bit codes with the scales of their blocks. */
  readonly optimizer: number
  /** What the layers keep for backward, by the policy of activation checkpointing. */
  readonly activations: number
  /** A block of the logits and of the head's weights, and the rows of the last norm: what they take beyond `scratch`, where they begin. */
  readonly logits: number
  /** What all layers share: a decoded weight, attention's tiles, gradients of activations, LoRA's panels, rotations. */
  readonly scratch: number
  /** Copies of adapter and moments while a checkpoint is written. */
  readonly checkpoint: number
  /** Of the keys and values of texts between two steps, maxSequenceLength tokens at most, what finds no room in the step's memory. */
  readonly generation: number
  /** Of a GPU: steps that are kept as CUDA graphs, where the rest leaves room for them (step-graphs.ts, planMemory); else 0. */
  readonly graphs: number
  /** Node with the dataset, and what Node, OpenMP and oneDNN take once the engine runs. */
  readonly node: number
}

/**
 * Room for what Node, the threads' stacks and oneDNN's packed operands grow by once the engine runs. Measured 14 MiB in training and 30 more
 * over four checkpoints, of which `checkpoint` is 22 (2 threads, the widths of SmolLM2-135M), and 6 more beside other work; memory-plan.test.ts measures it
 * again.
 */
const runtimeBytes = (threads: number): number => (40 + 8 * threads) * 2 ** 20

const up = (value: number, step: number): number => Math.ceil(value / step) * step
/** Bytes of a block of float32 in the engine's arena: memory.h. */
const block = (floats: number): number => up(4 * floats, 64)
/** Of activations and their gradients. */
const widthOf = ({ activationBytes = 4 }: MemoryNeeds): number => activationBytes
export const onDevice = ({ activationBytes }: MemoryNeeds): boolean => activationBytes !== undefined

export const recomputed = (policy: ActivationCheckpointing): boolean => policy === 'Full' || policy === 'Offload'

/** Bytes of the host's memory, pinned, in which a GPU's layers' inputs wait, those of the last two excepted: `offloaded`, llama.h. */
export function offloadedBytes(needs: MemoryNeeds, policy: ActivationCheckpointing): number {
  const { layers, hiddenSize } = needs.architecture
  if (policy !== 'Offload' || !onDevice(needs) || layers <= 2) return 0
  return (layers - 2) * widthOf(needs) * passOf(needs).tokens * hiddenSize
}

const sizesOf = ({ hiddenSize, intermediateSize, heads, keyValueHeads, headSize }: Architecture) => {
  const [q, kv] = [heads * headSize, keyValueHeads * headSize]
  return { hidden: hiddenSize, ffn: intermediateSize, q, kv, qkv: q + 2 * kv }
}

function activationBytes(needs: MemoryNeeds, { tokens }: PassShape, policy: ActivationCheckpointing): number {
  const { layers, heads } = needs.architecture
  const { hidden, ffn, q, qkv } = sizesOf(needs.architecture)
  const rows = (columns: number, width = widthOf(needs)): number => up(width * tokens * columns, 64)
  const input = rows(hidden)
  const cheap = 2 * rows(hidden) + rows(ffn) // both norms' outputs, SwiGLU's
  const h = linearModules(needs.architecture).length * rows(needs.lora.rank)
  const others = rows(hidden) + 2 * rows(1, 4) + rows(qkv) + rows(q) + rows(heads, 4) + rows(2 * ffn) + h
  if (offloadedBytes(needs, policy) > 0) return 2 * input + others
  // The first layer's input is made again in the second's place.
  if (recomputed(policy)) return Math.max(1, layers - 1) * input + others
  return layers * (input + others + maskBytes(needs, tokens) + (policy === 'None' ? cheap : 0))
}

/** Of one layer, a bit for each value that dropout decided on: Dropout::kept, lora.h. */
const maskBytes = ({ architecture, lora }: MemoryNeeds, tokens: number): number =>
  lora.dropout === 0
    ? 0
    : lora.targetModules.reduce(
        (sum, module) => sum + block(tokens * Math.ceil(moduleShape(architecture, module)[1] / 32)),
        0,
      )

/** Where rows are few: what each thread decodes at a time (few_rows.h), and x as bf16 in two orders (few_rows_bf16.h). */
function fewRowsFloats({ threads, bf16Products }: MemoryNeeds, columns: number, nf4Block: number | undefined): number {
  const step = nf4Block === undefined ? 1 : nf4Block / divisor(nf4Block, columns)
  const tile = (Math.floor(Math.floor(8192 / columns) / step) + 1) * step * columns
  return threads * tile + (bf16Products ? 16 + 8 * up(columns, 128) : 0)
}
const divisor = (a: number, b: number): number => (b === 0 ? a : divisor(b, a % b))

/** W, of parts that read the same x, as pairs of bf16; what each thread decodes of it, and its rows of x: bf16_matmul.h. */
function bf16Floats(threads: number, input: number, parts: readonly number[], nf4Block?: number): number {
  const step = nf4Block === undefined ? 1 : nf4Block / divisor(nf4Block, input)
  const decoded = ((step * 32) / divisor(step, 32)) * input
  const out = parts.reduce((sum, rows) => sum + up(rows, 32), 0)
  const pairs = 16 * (Math.ceil(Math.max(out, input) / 32) | 1) // of one row of x
  return 16 + (out * up(input, 32)) / 2 + threads * (up(decoded, 16) + 14 * pairs)
}

/** Rows of W in float32 at once, and bytes and rows of logits that exist at once: head.h. */
export const vocabularyBlock = 4096
const logitsBytesOf = (onDevice: boolean): number => (onDevice ? 512 : 64) * 2 ** 20
export const headRowsOf = (needs: MemoryNeeds): number =>
  Math.max(16, Math.floor(logitsBytesOf(onDevice(needs)) / (4 * needs.architecture.vocabularySize) / 16) * 16)

/** Of those that exist at once, what of them is kept: under Full a GPU makes them twice, a block at a time (logits_again). */
function headBytes(needs: MemoryNeeds, { labels }: PassShape, policy: ActivationCheckpointing): number {
  const { architecture, threads, bf16Products } = needs
  const { hiddenSize: hidden, vocabularySize: vocabulary } = architecture
  const width = widthOf(needs)
  const part = Math.min(labels, headRowsOf(needs))
  const product = bf16Products
    ? bf16Floats(threads, hidden, [vocabularyBlock])
    : Math.ceil((vocabularyBlock * hidden * width) / 4)
  const logits = recomputed(policy) && onDevice(needs) ? Math.min(vocabularyBlock, vocabulary) : vocabulary
  const scratch = part * (logits + vocabularyBlock) + product
  const rows = 2 * up(width * labels * hidden, 64) + block(labels * hidden) // in the type of activations, and f32
  const narrow = width < 4 ? up(width * labels * hidden, 64) : 0
  return block(scratch) + rows + narrow + block(labels) + up(16 * part, 64)
}

/** Rows whose gradients LoRA adds up at a time on a GPU: device_ops.cuh; what cuBLASLt works in: cuda_stream.cu. */
const loraPart = 512
const productsWorkspace = 32 * 2 ** 20

/** Where the layers' memory can take the head's, which is needed between forward and backward: llama_plan.cc. */
interface ScratchBytes {
  /** Whatever stands before it and goes on during the head. */
  readonly kept: number
  /** Of the layers alone. */
  readonly layers: number
}

function scratchBytes(
  needs: MemoryNeeds,
  pass: PassShape,
  policy: ActivationCheckpointing,
  attention = attentionFloats(needs, pass),
): ScratchBytes {
  const { architecture, quantization, threads, bf16Products } = needs
  const { hidden, ffn, q, kv, qkv } = sizesOf(architecture)
  const shapes = linearModules(architecture).map((module) => moduleShape(architecture, module))
  const nf4Block = quantization.type === 'NF4' ? quantization.blockSize : undefined
  const width = widthOf(needs)
  // Columns of x, and the rows of the matrices that read it.
  const joined: readonly (readonly [number, ...number[]])[] = [
    architecture.fusedProjections ? [hidden, qkv] : [hidden, q, kv, kv],
    [q, hidden],
    architecture.fusedProjections ? [hidden, 2 * ffn] : [hidden, ffn, ffn],
    [ffn, hidden],
  ]
  const products = bf16Products
    ? joined.map(([input, ...parts]) => bf16Floats(threads, input, parts, nf4Block))
    : [qkv * hidden, 2 * ffn * hidden].map((values) => Math.ceil((values * width) / 4))
  const decoded = Math.max(...products, ...shapes.map(([, input]) => fewRowsFloats(needs, input, nf4Block)))
  // On a GPU o and down are decoded beside the products of the others, and those beside theirs: tile_of, llama.cc.
  const nextDecoded = onDevice(needs) ? Math.ceil((Math.max(q, ffn) * hidden * width) / 4) : 0
  const loraPanels = Math.max(...shapes.map((shape) => loraFloats(needs, pass, shape)))
  const rows = (columns: number): number => up(width * pass.tokens * columns, 64)
  const activation = policy === 'None' ? 0 : rows(ffn)
  const between = Math.max(activation + rows(ffn), rows(Math.max(hidden, q)) + rows(hidden) + rows(qkv))
  // The table of rotations doubles as positions grow; the old one is there until the new one is filled.
  const rotations = 3 * 4 * Math.max(256, pass.longest) * architecture.headSize
  // Tokens, positions, labels; losses and flags.
  const words =
    6 * block(pass.tokens) + 2 * block(pass.labels) + up(8 * pass.labels, 64) + block(pass.documents + 1) + 4096
  const shared = block(decoded) + block(nextDecoded) + block(loraPanels) + block(attention)
  const workspace = onDevice(needs) ? productsWorkspace : 0
  return { kept: rows(hidden) + activation + rotations + words + workspace, layers: shared + between - activation }
}

/** What LoRA's products of one linear layer take beside their factors: device_ops.cuh, lora.h, bf16_lora.h. */
function loraFloats(needs: MemoryNeeds, { tokens }: PassShape, [out, input]: readonly [number, number]): number {
  const { threads, lora, bf16Products } = needs
  if (onDevice(needs)) {
    const sums = Math.ceil(tokens / loraPart) * Math.max(input, out)
    return (tokens + sums) * lora.rank + tokens * Math.ceil(input / 32)
  }
  const padded = up(lora.rank, 32)
  const f32 = (threads + 1) * (input + out + 112) * padded
  if (!bf16Products) return f32
  const both = up(input, 32) + up(out, 32)
  const ofThread = (both + 3 * 112) * padded + 7 * up(input, 32)
  return Math.max(f32, 16 + (both * padded) / 2 + threads * ofThread)
}

/** attention.h, bf16_attention.h: panels of keys and values as forward has them or as backward does, and each thread's tiles. */
function attentionFloats(needs: MemoryNeeds, { tokens, documents, longest }: PassShape): number {
  const { architecture, threads, bf16Products } = needs
  if (onDevice(needs)) return tokens * architecture.heads // cuda_attention.cu
  const [queryBlock, keyBlock, chunks] = [48, 96, 4]
  const size = up(architecture.headSize, 32)
  const panels = (tokens + documents * keyBlock) * architecture.keyValueHeads * size
  const forward = 2 * panels + threads * (queryBlock * size + 6 * (longest + 32))
  const bf16Forward = bf16Products ? 16 + panels + threads * (7 * size + 14 * (longest + 48)) : 0
  const tiles = queryBlock * (3 * size + 2 * keyBlock + 2)
  return Math.max(forward, bf16Forward, (3 + 2 * chunks) * panels + threads * tiles)
}

export const passOf = (needs: MemoryNeeds): PassShape =>
  largestPass(needs.lengths, needs.microBatchSize, needs.maxSequenceLength, groupTokensOf(onDevice(needs)))

/** Of attention over caches on a GPU: keys that a block of threads goes through (device_ops.cuh), floats of a row's cache (cuda_attention.cu). */
const [keysOfSplit, cachedRow] = [256, 8]

/** What a step takes for its time alone, and what texts between two steps want of it: a pass has one layer's activations and the scratch. */
export function textNeedsOf(needs: MemoryNeeds, { activations, logits, scratch }: MemoryItems): TextNeeds {
  const { architecture, maxSequenceLength: tokens } = needs
  const { heads, headSize, layers, vocabularySize } = architecture
  const pass = textPass(tokens)
  const parts = pass.tokens * heads * Math.ceil(tokens / keysOfSplit) * (headSize + 2)
  const attention = onDevice(needs)
    ? pass.tokens * cachedRow + parts
    : attentionFloats(needs, { ...pass, tokens: tokens + pass.tokens })
  const shared = scratchBytes(needs, pass, 'Full', attention)
  const head = headBytes(needs, pass, 'None') + block(pass.labels * vocabularySize) // logits and weights of tokens
  const layer = activationBytes({ ...needs, architecture: { ...architecture, layers: 1 } }, pass, 'Full')
  return {
    cache: widthOf(needs) * 2 * sizesOf(architecture).kv * layers * tokens,
    tokens,
    pass: layer + shared.kept + Math.max(shared.layers, head),
    step: activations + logits + scratch,
  }
}

/**
 * The items of a run whose base is loaded, whose adapter has been trained and is being saved. Loading needs less: beside the weights it holds
 * one matrix as stored and as float32, and neither adapter nor arena. An evaluation needs less too: one layer's activations, no gradients.
 */
export function memoryItems(needs: MemoryNeeds, policy: ActivationCheckpointing): MemoryItems {
  const pass = passOf(needs)
  const adapter = adapterBytes(needs)
  const optimizer = optimizerBytes(needs)
  const head = headBytes(needs, pass, policy)
  const scratch = scratchBytes(needs, pass, policy)
  const items = {
    baseWeights: weightBytes(needs),
    adapter,
    gradients: adapter,
    optimizer,
    activations: activationBytes(needs, pass, policy),
    logits: Math.max(0, head - scratch.layers),
    scratch: scratch.kept + scratch.layers,
    checkpoint: onDevice(needs) ? 0 : adapter + optimizer,
    generation: 0,
    graphs: 0,
    node: onDevice(needs) ? 0 : needs.heldByNode + runtimeBytes(needs.threads),
  }
  return { ...items, generation: textsBeyondStep(textNeedsOf(needs, items)) }
}

export const totalOf = (items: MemoryItems): number => Object.values(items).reduce((sum, bytes) => sum + bytes, 0)
