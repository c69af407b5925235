import { randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { OpenedModel } from '../model/open.ts'
import { abandonedAfter, lastTouched } from '../storage/age.ts'
import { isTemporary, syncDirectory } from '../storage/atomic.ts'
import { digestOf, hexOf, sha256File } from '../storage/digest.ts'
import { SealBroken, seal, verifySealed } from '../storage/sealed.ts'
import type { Example } from './example.ts'
import type { Examples } from './examples.ts'
import type { Bin } from './packing.ts'

/*
 * Texts that were tokenised and packed, as sealed folders below their dataset: <dataset>/tokenized/<hex of the key>/. They go with the
 * dataset; its own digest does not cover them. A missing or damaged one is made again, and one that cannot be written is done without.
 */

/** Raised when examples or bins of an older image must not be taken for those of this one. */
const VERSION = 1

/** Everything that tokens and bins depend on. */
export interface TokenizedKey {
  readonly dataset: string
  /** Which rows, and how they were turned into examples. */
  readonly part: 'train' | 'validation' | 'human'
  readonly tokenizer: string
  readonly templateDate: string
  readonly maxTokens: number
  readonly packing: boolean
  readonly seed: number
}

export interface Tokenized extends Examples {
  readonly bins: readonly Bin[]
}

/**
 * What turns text into tokens: the tokenizer's files, or the one file that holds all of a model, by their bytes, and what ends a turn, which
 * config.json may say, too.
 */
export async function tokenizerDigest({
  files,
  generation: { endOfTurnIds },
}: Pick<OpenedModel, 'files' | 'generation'>): Promise<string> {
  const own = files.filter(({ name }) => /^(tokenizer|chat_template|generation_config)|\.gguf$/.test(name))
  const sums: Record<string, string> = {}
  for (const { name, path } of own) sums[name] = await sha256File(path)
  return digestOf({ sums, endOfTurnIds })
}

/** What an earlier run left under the key, or what `make` gives. `problem` hears why the one was not used or the other not kept. */
export async function tokenizedOnce(
  directory: string,
  key: TokenizedKey,
  make: () => Promise<Tokenized>,
  problem: (error: Error) => void,
): Promise<{ readonly tokenized: Tokenized; readonly cached: boolean }> {
  const digest = digestOf({ ...key, version: VERSION })
  const all = join(directory, 'tokenized')
  const folder = join(all, hexOf(digest))
  try {
    if ((await verifySealed(folder)).digest === digest) return { tokenized: await read(folder), cached: true }
  } catch (error) {
    const isAbsent = error instanceof SealBroken && (await readdir(folder).catch(() => [])).length === 0
    if (!isAbsent) problem(error as Error)
  }
  const tokenized = await make()
  const making = join(all, `.${hexOf(digest)}.${randomUUID()}.tmp`)
  try {
    await mkdir(making, { recursive: true })
    await write(making, tokenized)
    await seal(making, digest)
    await rm(folder, { recursive: true, force: true })
    await rename(making, folder)
    await syncDirectory(all)
    await sweepLeftovers(all)
  } catch (error) {
    // Another run may have been first, the claim full or mounted for reading only: the run goes on with what it has.
    await rm(making, { recursive: true, force: true }).catch(() => {})
    problem(error as Error)
  }
  return { tokenized, cached: false }
}

async function sweepLeftovers(all: string): Promise<void> {
  for (const name of (await readdir(all)).filter(isTemporary))
    if (Date.now() - (await lastTouched(join(all, name))) > abandonedAfter)
      await rm(join(all, name), { recursive: true, force: true })
}

/** Of each example: tokens, promptTokens, labelTokens. */
const FIELDS = 3
/** Tokens of a shard, but for one example: files stay far below what Node reads at once. */
const SHARD_TOKENS = 1 << 26

const shardName = (name: 'tokens' | 'labels', shard: number): string => `${name}-${String(shard).padStart(5, '0')}.i32`

/** Which examples, from the first on, are in a shard. */
function shardsOf(lengths: readonly number[]): readonly { readonly first: number; readonly tokens: number }[] {
  const shards: { first: number; tokens: number }[] = []
  for (const [i, length] of lengths.entries()) {
    const last = shards.at(-1)
    if (last === undefined || last.tokens >= SHARD_TOKENS) shards.push({ first: i, tokens: length })
    else last.tokens += length
  }
  return shards
}

async function write(folder: string, { examples, bins, ...counts }: Tokenized): Promise<void> {
  const shards = shardsOf(examples.map(({ tokens }) => tokens.length))
  for (const [shard, { first, tokens }] of shards.entries())
    for (const name of ['tokens', 'labels'] as const) {
      const all = new Int32Array(tokens)
      let at = 0
      for (const example of examples.slice(first, shards[shard + 1]?.first)) {
        all.set(example[name], at)
        at += example.tokens.length
      }
      await writeFile(join(folder, shardName(name, shard)), all)
    }
  const fields = examples.flatMap(({ tokens, promptTokens, labelTokens }) => [tokens.length, promptTokens, labelTokens])
  await writeFile(join(folder, 'examples.u32'), Uint32Array.from(fields))
  await writeFile(join(folder, 'bins.u32'), Uint32Array.from(bins.flatMap((bin) => [bin.length, ...bin])))
  await writeFile(join(folder, 'examples.json'), JSON.stringify({ ids: examples.map(({ id }) => id), ...counts }))
}

async function read(folder: string): Promise<Tokenized> {
  const numbers = async (name: string): Promise<ArrayBuffer> => {
    const bytes = await readFile(join(folder, name))
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  }
  const { ids, ...counts } = JSON.parse(await readFile(join(folder, 'examples.json'), 'utf8')) as {
    ids: readonly string[]
  } & Omit<Examples, 'examples'>
  const fields = new Uint32Array(await numbers('examples.u32'))
  const lengths = ids.map((_, i) => fields[FIELDS * i] as number)
  const examples: Example[] = []
  const shards = shardsOf(lengths)
  for (const [shard, { first }] of shards.entries()) {
    const tokens = new Int32Array(await numbers(shardName('tokens', shard)))
    const labels = new Int32Array(await numbers(shardName('labels', shard)))
    let at = 0
    for (let i = first; i < (shards[shard + 1]?.first ?? ids.length); i++) {
      const end = at + (lengths[i] as number)
      examples.push({
        id: ids[i] as string,
        tokens: tokens.subarray(at, end),
        labels: labels.subarray(at, end),
        promptTokens: fields[FIELDS * i + 1] as number,
        labelTokens: fields[FIELDS * i + 2] as number,
      })
      at = end
    }
  }
  const packed = new Uint32Array(await numbers('bins.u32'))
  const bins: Bin[] = []
  for (let place = 0; place < packed.length; place += 1 + (packed[place] as number))
    bins.push([...packed.subarray(place + 1, place + 1 + (packed[place] as number))])
  return { examples, bins, ...counts }
}
