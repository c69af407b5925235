import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Collected } from './collect.ts'

/** Of Collected, what has a number for each text. */
const columns = ['sourceOf', 'rowOf', 'sameAs', 'groupOf', 'copies'] as const satisfies readonly (keyof Collected)[]

/** Writes what was collected into a stage's folder. */
export async function writeCollected(folder: string, collected: Collected): Promise<void> {
  for (const name of columns) await writeFile(join(folder, `${name}.u32`), collected[name])
  const rest = Object.fromEntries(
    Object.entries(collected).filter(([name]) => !(columns as readonly string[]).includes(name)),
  )
  await writeFile(join(folder, 'collected.json'), JSON.stringify(rest))
}

export async function readCollected(folder: string): Promise<Collected> {
  const rest = JSON.parse(await readFile(join(folder, 'collected.json'), 'utf8')) as Omit<
    Collected,
    (typeof columns)[number]
  >
  const [sourceOf, rowOf, sameAs, groupOf, copies] = (await Promise.all(
    columns.map((name) => readNumbers(join(folder, `${name}.u32`))),
  )) as [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array]
  return { ...rest, sourceOf, rowOf, sameAs, groupOf, copies }
}

export async function readNumbers(path: string): Promise<Uint32Array> {
  const bytes = await readFile(path)
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
}
