import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { PushConfig, PushResult } from '#proto/humanizer/trainer/v1/push.ts'
import type { JobContext } from '../job/context.ts'
import { JobFailure } from '../job/failure.ts'
import { merge } from '../merge/merge.ts'
import { modelPath } from '../model/fetch.ts'
import { readGgufAdapter } from '../model/gguf-adapter.ts'
import { readMergedAsGguf } from '../model/gguf-model.ts'
import { adapterFolder, promote } from '../serve/adapters.ts'
import { ownerRecord } from '../storage/owners.ts'
import { type Artifact, fileArtifact, folderArtifact } from './artifact.ts'
import { pushArtifact } from './push.ts'
import type { S3Credentials } from './s3-client.ts'
import { pushToS3 } from './s3-push.ts'

/** The command `upload`: what spec.push asks for, made where it is not there yet, and sent. */
export async function upload(config: PushConfig, context: JobContext): Promise<PushResult> {
  const { signal, log } = context
  const artifact = await artifactOf(config, context)
  signal.throwIfAborted()
  const { reference, files, present } = await send(artifact, config, signal)
  log.info({ reference, files, present }, 'pushed')
  return { digest: config.digest, reference, files, present }
}

async function artifactOf(config: PushConfig, context: JobContext): Promise<Artifact> {
  const { artifact, digest, sourcePath, model } = config
  const { dataDir } = context
  const folder = adapterFolder(dataDir, digest)
  const desired = { generation: 0, digest, sourcePath, format: undefined, warmSeconds: 0, split: undefined }
  await promote(dataDir, desired, ownerRecord(config.owner, config.reclaim))
  switch (artifact) {
    case 'Adapter':
      return folderArtifact(folder)
    case 'Merged':
      return folderArtifact(await mergedFolder(config, context))
    case 'MergedGGUF':
    case 'MergedGGUFQ8': {
      const { read, ...facts } = await readMergedAsGguf(
        await mergedFolder(config, context),
        artifact === 'MergedGGUFQ8',
      )
      return fileArtifact('model.gguf', read, facts)
    }
    case 'AdapterGGUF': {
      const { pieces, ...facts } = await readGgufAdapter(modelPath(dataDir, model?.path ?? ''), folder)
      return fileArtifact('adapter.gguf', () => pieces, facts)
    }
    default:
      throw new JobFailure(
        'ConfigurationInvalid',
        `artifact is "${artifact}"; expected Adapter, Merged, AdapterGGUF, MergedGGUF or MergedGGUFQ8`,
      )
  }
}

/** Made by the merge where it is not there yet. */
const mergedFolder = async (config: PushConfig, context: JobContext): Promise<string> =>
  join(context.dataDir, (await merge(config, context)).model?.path ?? '')

async function send(artifact: Artifact, { registry, s3 }: PushConfig, signal: AbortSignal) {
  if (registry) {
    const { repository, plainHttp, authFile } = registry
    return pushArtifact(artifact, repository, { plain: plainHttp, signal, ...(authFile && { auth: authFile }) })
  }
  if (s3) return pushToS3(artifact, s3, await credentialsIn(s3.credentialsFolder), { signal })
  throw new JobFailure('ConfigurationInvalid', 'no destination is named; expected registry or s3')
}

/** A Secret that lacks a key can still get it: NotFound. */
async function credentialsIn(folder: string): Promise<S3Credentials> {
  const read = async (key: string): Promise<string | undefined> => {
    try {
      return (await readFile(join(folder, key), 'utf8')).trim()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }
  const required = async (key: string): Promise<string> => {
    const value = await read(key)
    if (value) return value
    throw new JobFailure('NotFound', `the Secret of spec.push.s3 has no key ${key}, or it is empty`)
  }
  const [accessKeyId, secretAccessKey] = [await required('AWS_ACCESS_KEY_ID'), await required('AWS_SECRET_ACCESS_KEY')]
  const sessionToken = await read('AWS_SESSION_TOKEN')
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) }
}
