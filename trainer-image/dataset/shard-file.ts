import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import type { SourcesPlace } from './collect.ts'
import { type Collecting, type Example, exampleKey } from './collecting.ts'
import type { SeenValues } from './human.ts'

/** Of Collecting, what gets a number for each new text. */
const columns = ['sourceOf', 'rowOf', 'sameAs', 'groupOf'] as const

/** Where the next shard begins; undefined of the last one. */
export interface Following {
  readonly next?: SourcesPlace | undefined
}

/** What grows no further than the number of sources and rules. */
interface Small extends Following {
  readonly counts: readonly DataCounts[]
  readonly mojibake: readonly number[]
  readonly lengths: readonly (readonly number[])[]
  readonly examples: readonly Example[]
  readonly seen: readonly SeenValues[]
}

/** Writes what came to `collecting` after its first `before` texts, so that `restoreShard` can add it to what came before. */
export async function writeShard(
  folder: string,
  collecting: Collecting,
  { before, next }: Following & { readonly before: number },
): Promise<void> {
  const file = (name: string): string => join(folder, name)
  const { counts, mojibake, lengths, examples, filters, copies, texts, groups, machine } = collecting
  for (const name of columns) await writeFile(file(`${name}.u32`), collecting[name].all.subarray(before))
  await writeFile(file('copies.u32'), copies.all)
  await writeFile(file('sums.u32'), texts.since(before))
  await writeFile(file('groups.u32'), groups.since(before))
  await writeFile(file('machine.jsonl'), machine.lines())
  const seen = filters.map((each) => each.seen())
  const small: Small = { next, counts, mojibake, lengths, examples: examples.all, seen }
  await writeFile(file('collected.json'), JSON.stringify(small))
}

/** Adds a shard to `collecting`, which holds all shards before it. */
export async function restoreShard(folder: string, collecting: Collecting): Promise<Following> {
  const numbers = (name: string): Promise<Uint32Array> => readNumbers(join(folder, `${name}.u32`))
  const { texts, groups, copies, machine, examples, filters } = collecting
  for (const name of columns) collecting[name].append(await numbers(name))
  copies.replace(await numbers('copies'))
  texts.remember(await numbers('sums'))
  groups.remember(await numbers('groups'))
  machine.restore(await readFile(join(folder, 'machine.jsonl'), 'utf8'))
  const small = JSON.parse(await readFile(join(folder, 'collected.json'), 'utf8')) as Small
  for (const [i, counts] of small.counts.entries()) Object.assign(collecting.counts[i] as DataCounts, counts)
  for (const [i, bins] of small.lengths.entries()) (collecting.lengths[i] as number[]).splice(0, bins.length, ...bins)
  collecting.mojibake.splice(0, small.mojibake.length, ...small.mojibake)
  // Those of the lowest ranks of all rows so far: offered again, they are drawn again.
  examples.clear()
  for (const example of small.examples)
    examples.offer(exampleKey(example.rule, sourceOf(example)), example.id, () => example)
  for (const [i, seen] of small.seen.entries()) filters[i]?.restore(seen)
  return small
}

const sourceOf = ({ id }: Example): string => id.slice(0, id.lastIndexOf('-'))

export async function readNumbers(path: string): Promise<Uint32Array> {
  const bytes = await readFile(path)
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}
