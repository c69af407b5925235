import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { csv, machineText } from '../../test/fixtures/sources.ts'
import { prepare } from './prepare.ts'
import { configOf, contextOf, rowsOf } from './preparing.ts'

const root = await mkdtemp(join(tmpdir(), 'duplicates-'))
after(() => rm(root, { recursive: true, force: true }))

/** Near copies by their source and row; where two are of one source, the later row's id comes first in a dictionary. */
const families = [
  ['alpha-9', 'alpha-10'],
  ['alpha-11', 'zeta-2'],
  ['alpha-3', 'zeta-9', 'zeta-12'],
] as const

const ROWS = 12
for (const name of ['alpha', 'zeta']) {
  const texts = Array.from({ length: ROWS }, (_, i) => {
    const id = `${name}-${i + 1}`
    const family = families.findIndex((ids) => (ids as readonly string[]).includes(id))
    return family < 0 ? machineText(name.length * 100 + i, 100) : `${machineText(family, 100)} This is ${id}.`
  })
  await writeFile(join(root, `${name}.csv`), csv([['text'], ...texts.map((text) => [text])]))
}

const orders = [
  { sources: ['alpha', 'zeta'], kept: ['alpha-9', 'alpha-11', 'alpha-3'] },
  { sources: ['zeta', 'alpha'], kept: ['alpha-9', 'zeta-2', 'zeta-9'] },
]
for (const { sources, kept } of orders)
  test(`of near copies the one of the earlier source is kept, then that of the lower row: ${sources.join(', ')}`, async () => {
    const dataDir = join(root, sources.join('-'))
    await mkdir(dataDir)
    const given = sources.map((name) => ({ name, filePath: join(root, `${name}.csv`) }))
    const result = await prepare(configOf(given), contextOf(dataDir))
    const sides = await Promise.all(['train', 'validation'].map((side) => rowsOf(dataDir, result.location, side)))
    const clusterOf = new Map(sides.flat().map(({ id, cluster }) => [id, cluster]))
    assert.equal(clusterOf.size, 2 * ROWS - families.flat().length + families.length)
    for (const [i, ids] of families.entries()) {
      assert.deepEqual(
        ids.filter((id) => clusterOf.has(id)),
        [kept[i]],
      )
      assert.equal(clusterOf.get(kept[i]), kept[i])
    }
    const counts = result.sources.map(({ counts }) => [counts?.nearDuplicates, counts?.crossSourceDuplicates])
    const lost = sources.map((name) => families.flatMap((ids) => ids.filter((id) => id.startsWith(name))).length)
    const own = sources.map((name) => kept.filter((id) => id.startsWith(name)).length)
    assert.deepEqual(
      counts.map(([near]) => near),
      lost.map((all, i) => all - (own[i] as number)),
    )
    assert.deepEqual(
      counts.map(([, cross]) => cross),
      sources[0] === 'alpha' ? [0, 3] : [0, 2],
    )
  })
