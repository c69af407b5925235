import type { Row } from '../report.ts'

const MIB = 2 ** 20
/** What a preparation may take: the default of spec.memory. */
const LIMIT = 2 * 2 ** 30

/** The most memory that a process held, beside the limit. */
export const withinLimit = (work: string, peakBytes: number): Row => ({
  work,
  peer: 'the limit of 2 GiB',
  ratio: LIMIT / peakBytes,
  unit: 'MiB',
  ours: peakBytes / MIB,
  theirs: LIMIT / MIB,
})
