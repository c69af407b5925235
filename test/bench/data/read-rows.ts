/** Reading, filtering and cleaning beside `datasets`, and beside DuckDB that only reads. */
import { statSync } from 'node:fs'
import { join } from 'node:path'
import { Contender, inTurns } from '../contender.ts'
import { python } from '../python.ts'
import type { Bench } from '../report.ts'
import { megabytes, pairs } from '../settings.ts'
import { requireLoadable } from './loadable.ts'
import { writeRaid } from './raid.ts'

const here = (path: string): string => join(import.meta.dirname, path)
const formats = ['CSV', 'Parquet'] as const

let written: Promise<number> | undefined
async function raid(claim: string, format: (typeof formats)[number]): Promise<string> {
  const folder = join(claim, 'raid')
  written ??= writeRaid(folder, megabytes * 1e6)
  await written
  return join(folder, `raid.${format.toLowerCase()}`)
}

/** A row in megabytes of the CSV file a second, for either format: the rows are the same. */
function beside(
  claim: string,
  work: string,
  peer: string,
  format: (typeof formats)[number],
  threads: number,
  their: () => [string, string],
): Bench {
  return {
    works: [work],
    async measure() {
      const args = [await raid(claim, format), format, String(threads)]
      const [program, script] = their()
      await using mine = new Contender(process.execPath, [here('clean.ts'), ...args])
      await using theirs = new Contender(program, [here(script), ...args])
      const { ours, theirs: seconds, ratio } = await inTurns(mine, theirs, pairs)
      const size = statSync(await raid(claim, 'CSV')).size / 1e6
      return [{ work, peer, ratio, unit: 'MB/s', ours: size / ours, theirs: size / seconds }]
    },
  }
}

let loadable: Promise<void> | undefined

/** Where `datasets` is there, what we prepare is loaded with it, too. */
export const cleanBesideDatasets = (claim: string, threads: number): Bench[] =>
  formats.map((format) => {
    const work = `clean-vs-datasets ${format}`
    const bench = beside(claim, work, 'datasets 5.2.0 + Python functions', format, threads, () => [
      python('requirements-data.txt'),
      '../peer/clean.py',
    ])
    return {
      ...bench,
      async measure() {
        loadable ??= requireLoadable(join(claim, 'loadable'))
        await loadable
        return bench.measure()
      },
    }
  })

export const readBesideDuckDb = (claim: string, threads: number): Bench[] =>
  formats.map((format) =>
    beside(claim, `read-vs-duckdb ${format}`, 'DuckDB, reading alone', format, threads, () => [
      process.execPath,
      'duckdb-read.ts',
    ]),
  )
