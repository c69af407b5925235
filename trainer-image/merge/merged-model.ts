/**
 * A base with an adapter written into its weights: a plain Hugging Face folder that needs no adapter to serve. The update is added in f32 to
 * the base's original 16-bit weights, never to their NF4 form, and rounded once: mergeTensor.
 */
import { copyFile, mkdir, open, rm } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import { sumModel } from '../model/identity.ts'
import { type OpenedModel, openModel } from '../model/open.ts'
import { readAdapter, type StoredAdapter } from '../model/peft.ts'
import { mergeTensor, type TensorSource } from '../native/index.ts'
import { chatTemplateName } from '../storage/adapter-identity.ts'
import { renameUnlessThere, syncDirectory, temporaryName } from '../storage/atomic.ts'
import { digestOf, hexOf } from '../storage/digest.ts'
import { type Manifest, seal, sumsOnly, verifySealed } from '../storage/sealed.ts'
import { proveMerged } from './proof.ts'

/**
 * Writes the merged model of the folder `basePath` and the sealed adapter or checkpoint `adapterPath` to `parent`/<digest hex>: the base's
 * files under their names, its shards with the targets' bytes replaced, the adapter's chat template. The folder appears whole and proven
 * (proof.ts), sealed with facts `base` and `adapter`, the digests of the two, and what the proof measured; its own digest covers its files.
 * SourceInvalid when the base has no 16-bit weights (GGUF, saved in 4 bits) or is not the one that the adapter was trained on, and for what
 * readAdapter refuses; VerificationFailed when the two forms differ. Nothing is left behind then.
 */
export async function writeMergedModel(
  basePath: string,
  adapterPath: string,
  parent: string,
  signal?: AbortSignal,
): Promise<Manifest> {
  const opened = await openModel(basePath)
  requireFullPrecision(basePath, opened)
  const { digest: adapter, base: trainedOn, templateDate } = await verifySealed(adapterPath)
  const { digest: base } = await sumModel(opened, signal)
  const expected = (trainedOn as { digest?: string } | undefined)?.digest
  if (expected !== base)
    throw new JobFailure(
      'SourceInvalid',
      `${basePath} is ${base}; expected ${expected}, which ${adapterPath} was trained on`,
    )
  const stored = await readAdapter(adapterPath, opened.architecture)

  const staging = join(parent, temporaryName('merged'))
  await mkdir(staging, { recursive: true })
  try {
    for (const { name, path } of opened.files) await copyFile(path, join(staging, name))
    await copyTemplate(adapterPath, staging)
    for (const source of opened.tensors) {
      signal?.throwIfAborted()
      await mergeInto(staging, source, stored)
    }
    const proof = await proveMerged(basePath, stored, staging)
    const facts = { base, adapter, ...(templateDate !== undefined && { templateDate }), ...proof }
    const manifest = await seal(staging, (files) => digestOf(sumsOnly(files)), facts)
    await renameUnlessThere(staging, join(parent, hexOf(manifest.digest)))
    await syncDirectory(parent)
    return manifest
  } finally {
    await rm(staging, { recursive: true, force: true })
  }
}

/** One that was trained without its own has the base's. */
async function copyTemplate(adapterPath: string, staging: string): Promise<void> {
  await copyFile(join(adapterPath, chatTemplateName), join(staging, chatTemplateName)).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    },
  )
}

function requireFullPrecision(path: string, { tensors }: OpenedModel): void {
  for (const { name, dtype, file } of tensors) {
    if (file.endsWith('.gguf'))
      throw new JobFailure(
        'SourceInvalid',
        `${path} is a GGUF file; expected a Hugging Face folder: an adapter is merged into unquantised weights only`,
      )
    if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16')
      throw new JobFailure(
        'SourceInvalid',
        `${path}: ${name} is ${dtype}; expected BF16, F16 or F32: an adapter is merged into unquantised weights only`,
      )
  }
}

/** Replaces the tensor's bytes in the copied shard; nothing for a tensor that the adapter has no update of. */
async function mergeInto(staging: string, source: TensorSource, { config, tensors }: StoredAdapter): Promise<void> {
  const part = (name: string) =>
    tensors.find((tensor) => tensor.name === `base_model.model.${source.name.replace(/\.weight$/, name)}`)?.data
  const a = part('.lora_A.weight')
  const b = part('.lora_B.weight')
  if (a === undefined || b === undefined) return
  const scale = config.alpha / (config.rankStabilized ? Math.sqrt(config.rank) : config.rank)
  const bytes = mergeTensor(source, { a, b, rank: config.rank, scale })
  const file = await open(join(staging, basename(source.file)), 'r+')
  try {
    await file.write(bytes, 0, bytes.byteLength, source.offset)
  } finally {
    await file.close()
  }
}
