/**
 * The preparation of datasets beside its peers, in turns in one run: bench.json gets the rows. Ratios are medians of pairs; every process
 * gets the same threads and the same files. settings.ts says what can be chosen.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { dataAlone, dataBesidePeers } from './data/benches.ts'
import { measureAll } from './report.ts'
import { chosen, documents, megabytes, withPeers } from './settings.ts'

const threads = availableParallelism()
const claim = mkdtempSync(join(tmpdir(), 'humanizer-data-'))
try {
  const benches = chosen([...(withPeers ? dataBesidePeers(claim, threads) : []), ...dataAlone(claim, threads)])
  console.log(`${cpus()[0]!.model}, ${threads} threads; ${documents} documents, files of ${megabytes} MB\n`)
  writeFileSync('bench.json', `${JSON.stringify(await measureAll(benches), null, 2)}\n`)
} finally {
  rmSync(claim, { recursive: true, force: true })
}
