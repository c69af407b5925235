import type { Architecture } from '../../trainer-image/native/index.ts'

/** config.json of a Llama, as transformers writes it. */
export const llamaConfig = (a: Architecture, ids: object = {}): object => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_size: a.hiddenSize,
  intermediate_size: a.intermediateSize,
  num_hidden_layers: a.layers,
  num_attention_heads: a.heads,
  num_key_value_heads: a.keyValueHeads,
  head_dim: a.headSize,
  vocab_size: a.vocabularySize,
  rms_norm_eps: a.rmsNormEpsilon,
  rope_theta: a.ropeTheta,
  tie_word_embeddings: a.tiedEmbeddings,
  max_position_embeddings: a.maxPositions,
  torch_dtype: 'bfloat16',
  ...ids,
})
