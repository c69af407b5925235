import { digestOf } from './digest.ts'
import { type FileSums, sumsOnly } from './sealed.ts'

/*
 * What an adapter is, so that promotion, serving and rollback speak of the same thing. A checkpoint holds an adapter
 * and the state to train on; only the adapter's part has an identity.
 */

/** The base an adapter was trained on; recorded as fact `base` in the manifest of every checkpoint and adapter. */
export interface AdapterBase {
  /** ResolvedModel.digest. */
  readonly digest: string
  readonly quantization: {
    readonly type: string
    readonly blockSize: number
    readonly doubleQuantization: boolean
  }
}

/** The chat template that an adapter was trained with. */
export const chatTemplateName = 'chat_template.jinja'

/** Files of a checkpoint that are no part of the adapter: they only serve to resume. */
const resumeFiles: ReadonlySet<string> = new Set(['optimizer.safetensors', 'trainer_state.json'])

/** Names of the adapter's own files: its configuration and tensors, the tokenizer's files and the chat template. */
export const adapterFiles = (files: FileSums): string[] => Object.keys(files).filter((name) => !resumeFiles.has(name))

/** "sha256:…" over the adapter's files and its base; no optimizer, no times. */
export function adapterDigest(files: FileSums, { digest, quantization }: AdapterBase): string {
  const { type, blockSize, doubleQuantization } = quantization
  return digestOf({
    files: sumsOnly(files, adapterFiles(files)),
    base: { digest, quantization: { type, blockSize, doubleQuantization } },
  })
}
