/** Which tensors a Llama model has and in what shape. Pure: where they lie is the concern of the file formats. */
import { JobFailure } from '../job/failure.ts'
import type { Architecture } from '../native/index.ts'

/** PEFT's names of the linear modules of a layer: what "all linear layers" means. The head is not one of them. */
export const linearModules = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] as const
export type LinearModule = (typeof linearModules)[number]

const qkv: readonly LinearModule[] = ['q_proj', 'k_proj', 'v_proj']
const attention: readonly LinearModule[] = [...qkv, 'o_proj']

/** Path of a linear module in the model, without "weight": model.layers.0.self_attn.q_proj. */
export const modulePath = (layer: number, module: LinearModule): string =>
  `model.layers.${layer}.${attention.includes(module) ? 'self_attn' : 'mlp'}.${module}`

/** [out, in] of a linear module, the same in every layer. */
export function moduleShape(architecture: Architecture, module: LinearModule): readonly [number, number] {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headSize } = architecture
  switch (module) {
    case 'q_proj':
      return [heads * headSize, hiddenSize]
    case 'k_proj':
    case 'v_proj':
      return [keyValueHeads * headSize, hiddenSize]
    case 'o_proj':
      return [hiddenSize, heads * headSize]
    case 'gate_proj':
    case 'up_proj':
      return [intermediateSize, hiddenSize]
    case 'down_proj':
      return [hiddenSize, intermediateSize]
  }
}

/** Every tensor that a model of this architecture must have, by its Hugging Face name, in the order of the forward pass. */
export function expectedTensors(architecture: Architecture): Map<string, readonly number[]> {
  const { hiddenSize, vocabularySize, layers, tiedEmbeddings, qkvBias, outputBias } = architecture
  const biased: readonly LinearModule[] = [...(qkvBias ? qkv : []), ...(outputBias ? (['o_proj'] as const) : [])]
  const shapes = new Map<string, readonly number[]>([['model.embed_tokens.weight', [vocabularySize, hiddenSize]]])
  for (let layer = 0; layer < layers; layer++) {
    shapes.set(`model.layers.${layer}.input_layernorm.weight`, [hiddenSize])
    for (const module of linearModules) {
      if (module === 'gate_proj') shapes.set(`model.layers.${layer}.post_attention_layernorm.weight`, [hiddenSize])
      const shape = moduleShape(architecture, module)
      shapes.set(`${modulePath(layer, module)}.weight`, shape)
      if (biased.includes(module)) shapes.set(`${modulePath(layer, module)}.bias`, [shape[0]])
    }
  }
  shapes.set('model.norm.weight', [hiddenSize])
  if (!tiedEmbeddings) shapes.set('lm_head.weight', [vocabularySize, hiddenSize])
  return shapes
}

/** Upper bounds that every known Llama keeps with room to spare; they keep products of sizes exact. */
const limits = {
  hiddenSize: 65_536,
  intermediateSize: 524_288,
  layers: 1024,
  heads: 1024,
  keyValueHeads: 1024,
  headSize: 1024,
  vocabularySize: 4_194_304,
  maxPositions: 16_777_216,
} as const

/** Refuses sizes that no model has or that do not fit each other; `source` is the file they were read from. */
export function checkArchitecture(architecture: Architecture, source: string): Architecture {
  const bad = (message: string) => new JobFailure('SourceInvalid', `${source}: ${message}`)
  for (const [field, limit] of Object.entries(limits)) {
    const value = architecture[field as keyof typeof limits]
    if (!Number.isInteger(value) || value < 1 || value > limit)
      throw bad(`${field} is ${value}; expected a whole number from 1 to ${limit}`)
  }
  const { heads, keyValueHeads, headSize, rmsNormEpsilon, ropeTheta } = architecture
  if (heads % keyValueHeads !== 0) throw bad(`${heads} heads are not a multiple of ${keyValueHeads} key-value heads`)
  if (headSize % 2 !== 0) throw bad(`head size ${headSize} is odd; rotary embeddings need pairs`)
  if (!(rmsNormEpsilon > 0 && rmsNormEpsilon < 1)) throw bad(`rmsNormEpsilon is ${rmsNormEpsilon}; expected 0 to 1`)
  if (!(ropeTheta > 1 && Number.isFinite(ropeTheta))) throw bad(`ropeTheta is ${ropeTheta}; expected more than 1`)
  return architecture
}

/**
 * The modules that a list of LoRA targets means, in the order of linearModules; an empty list means all. A target that matches nothing is an
 * error that names it and the modules there are, so that nobody trains less than they asked for.
 */
export function resolveTargets(targetModules: readonly string[]): readonly LinearModule[] {
  if (targetModules.length === 0) return linearModules
  const unknown = targetModules.filter((target) => !linearModules.includes(target as LinearModule))
  if (unknown.length > 0)
    throw new JobFailure(
      'ConfigurationInvalid',
      `lora.targetModules: ${unknown.map((target) => `"${target}"`).join(', ')} matches no module of this model; ` +
        `it has ${linearModules.join(', ')}`,
    )
  return linearModules.filter((module) => targetModules.includes(module))
}
