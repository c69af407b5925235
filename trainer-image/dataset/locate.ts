import { mkdir, readdir, readFile, realpath, stat } from 'node:fs/promises'
import { dirname, join, sep } from 'node:path'
import { JobFailure } from '../job/failure.ts'
import { downloadHttp } from '../model/http-download.ts'
import { downloadHubFiles, type HubFile, type HubRepository, listHubFiles, matching } from '../model/hub.ts'
import { writeFileAtomic } from '../storage/atomic.ts'
import { sha256 } from '../storage/digest.ts'
import type { SharedContent } from '../storage/shared-content.ts'
import { formatOf, type TextFile } from './read.ts'
import { type Format, type License, nameInUrl, type PlannedSource } from './source.ts'

/** A source whose bytes are on this machine. */
export interface LocatedSource extends PlannedSource {
  /** In the order in which rows are numbered. */
  readonly texts: readonly TextFile[]
  /** Commit of a repository, sha256 of a download, or empty for files, which have neither. */
  readonly revision: string
  /** What differs between what was declared and what the repository says; for the report. */
  readonly remarks: readonly string[]
}

export interface Downloads {
  /** Kept from attempt to attempt, so that a download goes on where the last one ended. */
  readonly folder: string
  /** What other datasets have downloaded, and may have of this one. */
  readonly shared?: SharedContent | undefined
  /** What is prepared: the commit that its first attempt found is that of all attempts. */
  readonly specHash: string
  readonly hubEndpoint: string
  readonly signal: AbortSignal
  readonly onBytes: (bytes: number, total: number | undefined) => void
}

/**
 * Brings a source's files here and pins what they are. `permit` is asked as soon as the licence is known, before anything is
 * downloaded; it throws to refuse.
 */
export async function locate(
  source: PlannedSource,
  downloads: Downloads,
  permit: (license: License) => void,
): Promise<LocatedSource> {
  const { huggingFace, http, filePath } = source.location
  if (huggingFace) return locateInRepository(source, huggingFace, downloads, permit)
  permit(source.license)
  if (http) {
    const file = join(downloads.folder, source.name, sha256(http.url).slice(0, 16), nameInUrl(source.name, http.url))
    const download = downloadHttp({
      url: http.url,
      file,
      expected: { sha256: http.sha256 },
      shared: downloads.shared,
      signal: downloads.signal,
      onProgress: downloads.onBytes,
    })
    const done = await named(source, 'http', download)
    return {
      ...source,
      texts: [{ ...textFile(source, file), sha256: done.sha256 }],
      revision: `sha256:${done.sha256}`,
      remarks: [],
    }
  }
  return { ...source, texts: await filesBelow(source, filePath ?? ''), revision: '', remarks: [] }
}

async function locateInRepository(
  source: PlannedSource,
  location: NonNullable<PlannedSource['location']['huggingFace']>,
  downloads: Downloads,
  permit: (license: License) => void,
): Promise<LocatedSource> {
  const repository: HubRepository = {
    kind: 'dataset',
    repository: location.repository,
    revision: location.revision,
    endpoint: downloads.hubEndpoint,
    tokenFile: location.tokenFile,
    signal: downloads.signal,
  }
  if (source.license.expression !== '') permit(source.license)
  const pin = join(downloads.folder, source.name, 'pin.json')
  const pinned = await readPin(pin, downloads.specHash, location)
  const { commit, license: onCard } = await named(
    source,
    'huggingFace',
    listHubFiles(pinned ? { ...repository, revision: pinned } : repository),
  )
  if (!pinned) {
    await mkdir(dirname(pin), { recursive: true })
    const { repository: name, revision } = location
    await writeFileAtomic(pin, JSON.stringify({ specHash: downloads.specHash, repository: name, revision, commit }))
  }
  const license: License =
    source.license.expression === '' && onCard ? { expression: onCard, evidence: 'repository card' } : source.license
  permit(license)
  const wanted = (files: readonly HubFile[]) =>
    source.files.length > 0 && source.format !== undefined
      ? matching(source.files)(files)
      : readable(source.format, matching(source.files.length > 0 ? source.files : ['*'])(files), ({ path }) => path)
  const held = new Map<string, number>()
  let total = 0
  const download = downloadHubFiles({
    ...repository,
    revision: commit,
    directory: join(downloads.folder, source.name, commit),
    shared: downloads.shared,
    select: (files) => {
      const chosen = wanted(files)
      total = chosen.reduce((sum, { bytes }) => sum + bytes, 0)
      return chosen
    },
    onProgress: (path, bytes) => {
      held.set(path, bytes)
      downloads.onBytes(
        [...held.values()].reduce((sum, each) => sum + each, 0),
        total,
      )
    },
  })
  const done = await named(source, 'huggingFace', download)
  const differs = onCard && onCard.toLowerCase() !== license.expression.toLowerCase()
  return {
    ...source,
    license,
    texts: done.files.map(({ file, sha256 }) => ({ ...textFile(source, file), sha256 })).sort(byPath),
    revision: commit,
    remarks: differs ? [`the repository's card says license "${onCard}", used is "${license.expression}"`] : [],
  }
}

/** The failures of a download do not know whose it is. */
const named = <T>({ name }: PlannedSource, field: 'http' | 'huggingFace', download: Promise<T>): Promise<T> =>
  download.catch((error: unknown) => {
    if (!(error instanceof JobFailure)) throw error
    throw new JobFailure(error.reason, `source ${name}: sources[].${field}: ${error.message}`, { cause: error })
  })

/** The commit that an earlier attempt at the same spec found; a branch may have moved since. */
async function readPin(
  path: string,
  specHash: string,
  { repository, revision }: NonNullable<PlannedSource['location']['huggingFace']>,
): Promise<string | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (text === undefined) return undefined
  const pin = JSON.parse(text) as Record<string, string>
  const same = pin['specHash'] === specHash && pin['repository'] === repository && pin['revision'] === revision
  return same ? pin['commit'] : undefined
}

/**
 * Of files that nobody chose those whose ending tells a known format, or the one that is given; where no ending tells that, it is what all of
 * them hold.
 */
function readable<T>(format: Format | undefined, files: readonly T[], pathOf: (file: T) => string): readonly T[] {
  const told = files.filter((file) => {
    const own = formatOf(pathOf(file))
    return format === undefined ? own !== undefined : own === format
  })
  return format !== undefined && told.length === 0 ? files : told
}

/** The files of a path in a mounted volume: itself, or what lies below it in the order of the names. */
async function filesBelow(source: PlannedSource, root: string): Promise<TextFile[]> {
  const entry = await stat(root).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error
    throw new JobFailure(
      'NotFound',
      `source ${source.name}: sources[].volume.path: ${root} does not exist; expected a file or folder of the volume`,
      { cause: error },
    )
  })
  const mount = source.location.mountPath || dirname(root)
  const [inside, folder] = [await realpath(mount), await realpath(root)]
  if (folder !== inside && !isBelow(inside, folder))
    throw new JobFailure('SourceInvalid', `source ${source.name}: ${root} is a link that leads out of ${mount}`)
  if (!entry.isDirectory()) return [textFile(source, root)]
  const all: string[] = []
  const walk = async (at: string): Promise<void> => {
    // Names with a dot in front are bookkeeping: ConfigMap mounts keep their generations under "..data", git its objects.
    const names = (await readdir(at)).filter((name) => !name.startsWith('.'))
    for (const name of names) {
      const path = join(at, name)
      if (!isBelow(folder, await realpath(path)))
        throw new JobFailure('SourceInvalid', `source ${source.name}: ${path} is a link that leads out of ${root}`)
      if ((await stat(path)).isDirectory()) await walk(path)
      else all.push(path)
    }
  }
  await walk(root)
  const found = readable(source.format, all, (path) => path)
  if (found.length === 0)
    throw new JobFailure(
      'NotFound',
      `source ${source.name}: no file below ${root} ends in .csv, .tsv, .jsonl, .ndjson, .json, .parquet, .txt or .text`,
    )
  return found.map((path) => textFile(source, path)).sort(byPath)
}

/** Both without links. */
const isBelow = (folder: string, path: string): boolean => path.startsWith(folder.endsWith(sep) ? folder : folder + sep)

function textFile(source: PlannedSource, path: string): TextFile {
  const format = source.format ?? formatOf(path)
  if (format === undefined)
    throw new JobFailure(
      'ConfigurationInvalid',
      `source ${source.name}: the name of ${path} does not tell its format; set sources[].format to CSV, JSONL, Parquet or Text`,
    )
  return { path, format }
}

const byPath = (a: TextFile, b: TextFile): number => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0)
