import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { DesiredAdapter, ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import { hexOf } from '../storage/digest.ts'
import { JobFailure } from './failure.ts'

/** The options of the command line that a tool reads. */
export interface ToolOptions {
  readonly data: string
  readonly config: string
  readonly desired: string
  /** Folder or .gguf file of the base model. */
  readonly base?: string | undefined
  /** Folder of a sealed adapter or checkpoint. */
  readonly adapter?: string | undefined
  /** Folder of a merged model. */
  readonly model?: string | undefined
  /** Its matrices in Q8_0. */
  readonly q8?: boolean | undefined
  /** File to write; the standard output when absent. */
  readonly output?: string | undefined
  /** Sealed folder to push, what the pod serves when absent; or a run's folder to tell of. */
  readonly folder?: string | undefined
  /** host[:port]/repository. */
  readonly to?: string | undefined
  /** A dockerconfigjson, or a key of Weights & Biases; "-" is the standard input. */
  readonly auth?: string | undefined
  readonly 'plain-http'?: boolean | undefined
}

/** What a person types, in a serving pod or at a desk: it has no configuration of its own and tells no operator. */
export const tools: Readonly<Record<string, (options: ToolOptions) => Promise<void>>> = { gguf, push, track }

/** Writes an adapter as llama.cpp's file: the one named, or what this pod was told to serve; or a merged model. */
async function gguf(options: ToolOptions): Promise<void> {
  const { base, adapter, output } = options
  if (options.model !== undefined) {
    const { readMergedAsGguf } = await import('../model/gguf-model.ts')
    return write((await readMergedAsGguf(options.model, options.q8 ?? false)).read(), output)
  }
  if ((base === undefined) !== (adapter === undefined))
    throw new JobFailure(
      'ConfigurationInvalid',
      '--base and --adapter go together; expected both, or neither in a serving pod',
    )
  const { readAsGguf } = await import('../model/gguf-adapter.ts')
  const pieces =
    base !== undefined && adapter !== undefined
      ? await readAsGguf(base, adapter)
      : await readAsGguf(...(await served(options)))
  return write(pieces, output)
}

/** To the file, or to the standard output. */
async function write(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  output: string | undefined,
): Promise<void> {
  if (output !== undefined) return pipeline(Readable.from(pieces), createWriteStream(output))
  for await (const piece of pieces)
    await new Promise<void>((resolve, reject) =>
      process.stdout.write(piece, (error) => (error ? reject(error) : resolve())),
    )
}

/** Pushes a sealed adapter or merged model to an OCI registry, and prints what to pull. */
async function push(options: ToolOptions): Promise<void> {
  const { to, auth } = options
  if (to === undefined) throw new JobFailure('ConfigurationInvalid', '--to is absent; expected host[:port]/repository')
  const { pushArtifact } = await import('../push/push.ts')
  const { folderArtifact } = await import('../push/artifact.ts')
  const [base, adapter] = options.folder === undefined ? await served(options) : [options.folder, options.folder]
  const folder = /(^|\/)merged\/[0-9a-f]{64}$/.test(base) ? base : adapter
  const { reference, tag, present, files } = await pushArtifact(await folderArtifact(folder), to, {
    auth,
    plain: options['plain-http'],
  })
  process.stdout.write(`${reference}\n`)
  process.stderr.write(`${files} files, ${present} of them there already; also under the tag ${tag}\n`)
}

/** Tells Weights & Biases what a run could not, and prints the run's page. */
async function track({ folder, auth }: ToolOptions): Promise<void> {
  if (folder === undefined || auth === undefined)
    throw new JobFailure('ConfigurationInvalid', "--folder and --auth go together; expected a run's folder and a key")
  const { sendPending } = await import('../train/wandb-later.ts')
  const key = (await readFile(auth === '-' ? '/dev/stdin' : auth, 'utf8')).trim()
  process.stdout.write(`${await sendPending(folder, key)}\n`)
}

/** Base and adapter of the pod that this runs in. */
async function served({ data, config, desired }: ToolOptions): Promise<[string, string]> {
  const json = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, 'utf8'))
  const { model } = ServeConfig.fromJSON(await json(config))
  const { digest } = DesiredAdapter.fromJSON(await json(desired))
  if (digest === '') throw new JobFailure('NotFound', `${desired} names no adapter: the untouched base serves`)
  return [resolve(data, model?.path ?? ''), join(data, 'adapters', hexOf(digest))]
}
