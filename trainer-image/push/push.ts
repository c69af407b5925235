import { stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import { sha256, sha256File } from '../storage/digest.ts'
import { manifestName, verifySealed } from '../storage/sealed.ts'
import { parseTarget } from './reference.ts'
import { RegistryClient, type RegistryOptions } from './registry-client.ts'

/*
 * A sealed folder as an OCI artifact, as ORAS writes one: an image manifest with an artifactType, an empty configuration, and a layer for each
 * file with its name as title, so that `oras pull` gives the folder back. Equal folders give equal manifests.
 */

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const emptyType = 'application/vnd.oci.empty.v1+json'
const layerType = 'application/vnd.humanizer.file.v1'
const empty = Buffer.from('{}')

export interface Pushed {
  /** host/repository@sha256:…; what to pull. */
  readonly reference: string
  /** sha256-<hex of the folder's digest>: a name that says what is in it. */
  readonly tag: string
  /** Files that the registry had already. */
  readonly present: number
  readonly files: number
}

/**
 * Pushes the sealed adapter or merged model at `folder` to `to` (host/repository). What is there already is not sent again, so a push that
 * was cut off goes on where it was, file by file. Nothing counts before the last look: the manifest is read back and every blob asked for.
 */
export async function pushFolder(folder: string, to: string, options: RegistryOptions = {}): Promise<Pushed> {
  const target = parseTarget(to)
  const sealed = await verifySealed(folder)
  const client = new RegistryClient(target, options)
  const names = [...Object.keys(sealed.files), manifestName]
  const layers = []
  let present = 0
  for (const name of names) {
    const path = join(folder, name)
    const bytes = sealed.files[name]?.bytes ?? (await stat(path)).size
    const digest = `sha256:${sealed.files[name]?.sha256 ?? (await sha256File(path))}`
    if (await client.hasBlob(digest)) present++
    else await client.putBlob(digest, { file: path, bytes })
    layers.push({ mediaType: layerType, digest, size: bytes, annotations: { 'org.opencontainers.image.title': name } })
  }
  const config = { mediaType: emptyType, digest: `sha256:${sha256(empty)}`, size: empty.byteLength }
  if (!(await client.hasBlob(config.digest))) await client.putBlob(config.digest, empty)
  const base = sealed.base as string | { digest?: string } | undefined
  const kind = typeof sealed.adapter === 'string' ? 'merged' : 'adapter'
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: manifestType,
      artifactType: `application/vnd.humanizer.${kind}.v1`,
      config,
      layers,
      annotations: {
        'dev.humanizer.digest': sealed.digest,
        ...(base && { 'dev.humanizer.base': typeof base === 'string' ? base : (base.digest ?? '') }),
        ...(kind === 'merged' && { 'dev.humanizer.adapter': String(sealed.adapter) }),
      },
    }),
  )
  const digest = `sha256:${sha256(manifest)}`
  const tag = sealed.digest.replace(':', '-')
  await client.putManifest(tag, manifestType, manifest)
  await proveTold(client, digest, manifest, [config, ...layers], to)
  return { reference: `${to}@${digest}`, tag, present, files: names.length }
}

async function proveTold(
  client: RegistryClient,
  digest: string,
  manifest: Uint8Array,
  blobs: readonly { readonly digest: string }[],
  to: string,
): Promise<void> {
  const told = await client.manifest(digest, manifestType)
  if (!told || Buffer.compare(told, manifest) !== 0)
    throw new JobFailure(
      'VerificationFailed',
      `${to}@${digest} is ${told ? 'other bytes' : 'not there'} after the push`,
    )
  for (const blob of blobs)
    if (!(await client.hasBlob(blob.digest)))
      throw new JobFailure(
        'VerificationFailed',
        `${to}: blob ${blob.digest} of ${basename(digest)} is not there after the push`,
      )
}
