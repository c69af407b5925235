/**
 * What a GPU's memory gives for steps that are kept as CUDA graphs (cuda_graphs.cuh), which run again as one launch when their shapes come
 * again. NVIDIA does not say what a graph takes: 64 KiB an operation were seen, with driver 470, and are assumed (docs/adr/0016).
 * test/cuda/memory-plan.test.ts holds the operations against those that the engine asks for.
 */
import { linearModules } from '../model/llama.ts'
import type { ActivationCheckpointing } from '../native/index.ts'
import {
  headRowsOf,
  type MemoryNeeds,
  offloadedBytes,
  onDevice,
  passOf,
  recomputed,
  vocabularyBlock,
} from './memory-items.ts'
import { groupTokensOf } from './pass-shape.ts'

/** kKeptGraphs of cuda_graphs.cuh. Of full packed sequences whose every token has a label a run repeats one shape; of others it may repeat more. */
const keptGraphs = 4
/** kNodeBytes of cuda_stream.cu. */
const operationBytes = 64 * 2 ** 10

/** Of so many graphs; unless said otherwise, of all that a run may come to keep. */
export const graphBytes = (needs: MemoryNeeds, policy: ActivationCheckpointing, count = keptGraphs): number =>
  onDevice(needs) ? count * operationBytes * stepOperations(needs, policy) : 0

/**
 * Kernels and copies of a micro-batch, its update excepted, at most: as if the first layer's gradient went on to the embedding, and as if the
 * head's weights were stored in another type than activations have. A product is one kernel: cublaslt.cc lets none be split.
 */
export function stepOperations(needs: MemoryNeeds, policy: ActivationCheckpointing): number {
  const { layers, vocabularySize } = needs.architecture
  const { labels } = passOf(needs)
  const parts = Math.ceil(labels / headRowsOf(needs))
  const again = recomputed(policy)
  // Scan and gradient; of each product the weights' decoding, too.
  const head = parts * (1 + Math.ceil(vocabularySize / vocabularyBlock) * (2 + 2 * (again ? 3 : 2)))
  // Ten uploads; embedding, rows with labels, norm; loss, its sum; two zeroed gradients, the norm's, their rows' way back, in bf16 once more.
  const around = 10 + 3 + 2 + 2 + 1 + 1 + (needs.activationBytes === 2 ? 1 : 0)
  const offloaded = offloadedBytes(needs, policy) > 0 ? 2 * (layers - 2) : 0
  const ofPass = around + head + offloaded + layersOperations(needs, policy)
  return 2 + passesOf(needs) * ofPass // flags and losses: zeroed, brought back
}

/** llama.cc: forward_layer and backward_layer. */
function layersOperations({ architecture, lora }: MemoryNeeds, policy: ActivationCheckpointing): number {
  const matrices = linearModules(architecture).length // each is decoded by itself
  const adapters = lora.targetModules.length
  const biases = (architecture.qkvBias ? 1 : 0) + (architecture.outputBias ? 1 : 0)
  // Four products; two norms, rotation, attention, SwiGLU; two sums with what went by; h and B h.
  const forward = matrices + 4 + 5 + 2 + biases + 2 * adapters
  // Of attention D, keys, queries; dh, dx, and dA and dB in parts that are added up; whether the output is finite.
  const backward = matrices + 4 + 5 + 2 + 6 * adapters + 1
  const once = architecture.layers * (forward + backward)
  if (policy === 'None') return once
  if (policy === 'Selective') return once + 3 * architecture.layers // both norms and SwiGLU
  // Both norms; each layer but the last is made again, without the product of down.
  return once + 2 * architecture.layers + (architecture.layers - 1) * (forward - 3)
}

/** Passes of a micro-batch of so many sequences of full length. */
function passesOf(needs: MemoryNeeds): number {
  const { lengths, microBatchSize, maxSequenceLength } = needs
  const sequence = Math.min(lengths.longestSequence, maxSequenceLength)
  return Math.ceil(microBatchSize / Math.max(1, Math.floor(groupTokensOf(onDevice(needs)) / sequence)))
}
