import { basename } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import { sha256 } from '../storage/digest.ts'
import { type Artifact, contentOf } from './artifact.ts'
import { parseTarget } from './reference.ts'
import { RegistryClient, type RegistryOptions } from './registry-client.ts'

/*
 * An artifact as OCI keeps it and ORAS writes it: an image manifest with an artifactType, an empty configuration, and a layer for each
 * file with its name as title, so that `oras pull` gives the folder back. Equal folders give equal manifests.
 */

const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const emptyType = 'application/vnd.oci.empty.v1+json'
const layerType = 'application/vnd.humanizer.file.v1'
const empty = contentOf(Buffer.from('{}'))

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
 * Pushes to `to` (host/repository). What is there already is not sent again, so a push that was cut off goes on where it was, file by file.
 * Nothing counts before the last look: the manifest is read back and every blob asked for.
 */
export async function pushArtifact(
  { kind, manifest: sealed, files }: Artifact,
  to: string,
  options: RegistryOptions = {},
): Promise<Pushed> {
  const client = new RegistryClient(parseTarget(to), options)
  const layers = []
  let present = 0
  for (const [name, content] of files) {
    const digest = `sha256:${content.sha256}`
    if (await client.hasBlob(digest)) present++
    else await client.putBlob(digest, content)
    layers.push({
      mediaType: layerType,
      digest,
      size: content.bytes,
      annotations: { 'org.opencontainers.image.title': name },
    })
  }
  const config = { mediaType: emptyType, digest: `sha256:${empty.sha256}`, size: empty.bytes }
  if (!(await client.hasBlob(config.digest))) await client.putBlob(config.digest, empty)

  const base = sealed.base as string | { digest?: string } | undefined
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
        ...(kind !== 'adapter' && { 'dev.humanizer.adapter': String(sealed.adapter) }),
      },
    }),
  )
  const digest = `sha256:${sha256(manifest)}`
  const tag = sealed.digest.replace(':', '-')
  await client.putManifest(tag, manifestType, manifest)
  await proveTold(client, digest, manifest, [config, ...layers], to)
  return { reference: `${to}@${digest}`, tag, present, files: files.size }
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
