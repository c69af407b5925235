import type { Bench } from '../report.ts'
import { dedupBesidePeers, dedupScaling } from './dedup-rows.ts'
import { preparation } from './prepare-rows.ts'
import { cleanBesideDatasets, readBesideDuckDb } from './read-rows.ts'
import { tokenizing } from './tokenize-rows.ts'

/** The rows of the suite that need a Python. */
export const dataBesidePeers = (claim: string, threads: number): Bench[] => [
  ...dedupBesidePeers(claim, threads),
  ...cleanBesideDatasets(claim, threads),
  tokenizing(claim, threads),
]

/** Those that need none. */
export const dataAlone = (claim: string, threads: number): Bench[] => [
  ...readBesideDuckDb(claim, threads),
  dedupScaling(claim, threads),
  preparation(claim),
]
