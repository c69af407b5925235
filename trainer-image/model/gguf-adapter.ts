/**
 * A LoRA adapter as llama.cpp and Ollama read it: one GGUF file, as llama.cpp's convert_lora_to_gguf.py would make it of the PEFT folder
 * (general.type "adapter", adapter.type "lora", tensors <weight>.lora_a and .lora_b), with the digests of adapter and base in it.
 */
import { JobFailure } from '../job/failure.ts'
import type { Architecture } from '../native/index.ts'
import { verifySealed } from '../storage/sealed.ts'
import { ggmlModule, interleavesHeads } from './gguf-llama.ts'
import { encodeGguf, type GgufWeights, ggmlF32, interleaveHalves } from './gguf-write.ts'
import { requireModel } from './identity.ts'
import { modulePath } from './llama.ts'
import { openModel } from './open.ts'
import { type AdapterConfig, readAdapter, type StoredAdapter } from './peft.ts'

/** What the file says of itself beside the tensors. */
export interface GgufAdapterFacts {
  /** general.architecture of the base. */
  readonly architecture: string
  /** "sha256:…" of the adapter and of its base. */
  readonly digest: string
  readonly baseDigest: string
}

/**
 * The file of the sealed adapter or checkpoint at `adapterPath`, in pieces. `basePath` is the folder or .gguf file that it was trained on:
 * read whole, since an adapter on another base gives nonsense and llama.cpp asks only for shapes. SourceInvalid for another one.
 */
export async function readAsGguf(basePath: string, adapterPath: string): Promise<Uint8Array[]> {
  return (await readGgufAdapter(basePath, adapterPath)).pieces
}

/** As readAsGguf, with the digests that the file has in it. */
export async function readGgufAdapter(
  basePath: string,
  adapterPath: string,
): Promise<{ readonly pieces: Uint8Array[]; readonly base: string; readonly adapter: string }> {
  const opened = await openModel(basePath)
  const { digest, base } = await verifySealed(adapterPath)
  const baseDigest = (base as { digest?: string } | undefined)?.digest
  if (baseDigest === undefined)
    throw new JobFailure(
      'SourceInvalid',
      `${adapterPath}: its manifest names no base; expected an adapter or a checkpoint`,
    )
  await requireModel(opened, baseDigest, basePath)
  const stored = await readAdapter(adapterPath, opened.architecture)
  const facts = { architecture: opened.ggmlArchitecture, digest, baseDigest }
  return { pieces: encodeAdapter(opened.architecture, stored, facts), base: baseDigest, adapter: digest }
}

/** As readAsGguf, from memory. */
export function encodeAdapter(
  architecture: Architecture,
  { config, tensors }: StoredAdapter,
  { architecture: name, digest, baseDigest }: GgufAdapterFacts,
): Uint8Array[] {
  const metadata = {
    'general.architecture': name,
    'general.type': 'adapter',
    'general.name': digest,
    'general.base_model.count': 1,
    'general.base_model.0.name': config.baseModel,
    'adapter.type': 'lora',
    'adapter.lora.alpha': { float: alphaOf(config) },
    'humanizer.adapter.digest': digest,
    'humanizer.base.digest': baseDigest,
  }
  return encodeGguf(metadata, weightsOf(architecture, { config, tensors }, interleavesHeads(name)))
}

/** llama.cpp scales every update by alpha / rank; a rank-stabilised one is to be scaled by alpha / sqrt(rank). */
const alphaOf = ({ alpha, rank, rankStabilized }: AdapterConfig): number =>
  rankStabilized ? alpha * Math.sqrt(rank) : alpha

function weightsOf(
  architecture: Architecture,
  { config, tensors }: StoredAdapter,
  interleaved: boolean,
): GgufWeights[] {
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]))
  const weights: GgufWeights[] = []
  for (let layer = 0; layer < architecture.layers; layer++)
    for (const module of config.targetModules) {
      const heads =
        module === 'q_proj' ? architecture.heads : module === 'k_proj' ? architecture.keyValueHeads : undefined
      for (const [part, suffix] of [
        ['lora_A', 'lora_a'],
        ['lora_B', 'lora_b'],
      ] as const) {
        const { data, shape } = byName.get(`base_model.model.${modulePath(layer, module)}.${part}.weight`)!
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
        const isRotated = interleaved && heads !== undefined && part === 'lora_B'
        weights.push({
          name: `blk.${layer}.${ggmlModule(module)}.weight.${suffix}`,
          type: ggmlF32,
          shape,
          data: isRotated ? interleaveHalves(bytes, heads, shape[0]) : bytes,
        })
      }
    }
  return weights
}
