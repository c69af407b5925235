/**
 * The preparation of datasets beside its peers, in turns in one run: bench.json gets the rows. Ratios are medians of pairs; every process
 * gets the same threads and the same files. settings.ts says what can be chosen.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { dedupBesidePeers, dedupScaling } from './data/dedup-rows.ts'
import { preparation } from './data/prepare-rows.ts'
import { cleanBesideDatasets, readBesideDuckDb } from './data/read-rows.ts'
import { tokenizing } from './data/tokenize-rows.ts'
import { type Bench, measureAll } from './report.ts'
import { chosen, documents, megabytes, withPeers } from './settings.ts'

const threads = availableParallelism()
const claim = mkdtempSync(join(tmpdir(), 'humanizer-data-'))

/** All of the suite; `withPeers` false leaves out what needs Python. */
export const benches = (withPeers: boolean): Bench[] => [
  ...(withPeers
    ? [...dedupBesidePeers(claim, threads), ...cleanBesideDatasets(claim, threads), tokenizing(claim, threads)]
    : []),
  ...readBesideDuckDb(claim, threads),
  dedupScaling(claim, threads),
  preparation(claim),
]

try {
  console.log(`${cpus()[0]!.model}, ${threads} threads; ${documents} documents, files of ${megabytes} MB\n`)
  writeFileSync('bench.json', `${JSON.stringify(await measureAll(chosen(benches(withPeers))), null, 2)}\n`)
} finally {
  rmSync(claim, { recursive: true, force: true })
}
