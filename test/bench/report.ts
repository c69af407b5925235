/** One line of a suite's result: ratio is ours to theirs, larger is better. */
export interface Row {
  /** Names what is measured and against whom: no two rows of a suite have the same. */
  readonly work: string
  readonly peer: string
  readonly ratio: number
  readonly unit: string
  readonly ours: number
  readonly theirs: number
}

/** A part of a suite. Its rows' works are known before it is measured, so that ROWS can choose. */
export interface Bench {
  readonly works: readonly string[]
  measure(): Promise<readonly Row[]>
}

/** Three significant digits, as a measurement on a busy machine deserves. */
const round = (value: number): number => Number(value.toPrecision(3))

export const printRow = ({ work, peer, ratio, unit, ours, theirs }: Row): void =>
  console.log(
    `${work.padEnd(46)} ${String(round(ours)).padStart(9)} ${String(round(theirs)).padStart(9)} ${unit.padEnd(10)} ${round(ratio).toFixed(2).padStart(7)} ×  ${peer}`,
  )

const printHeader = (): void =>
  console.log(
    `${'work'.padEnd(46)} ${'ours'.padStart(9)} ${'theirs'.padStart(9)} ${'unit'.padEnd(10)} ${'ratio'.padStart(9)}  peer`,
  )

/** Measures the benches one after another and prints each row as it comes. */
export async function measureAll(benches: readonly Bench[]): Promise<Row[]> {
  const works = benches.flatMap((bench) => bench.works)
  const twice = works.find((work, i) => works.indexOf(work) !== i)
  if (twice !== undefined) throw new Error(`two rows are called "${twice}"`)
  printHeader()
  const rows: Row[] = []
  for (const bench of benches)
    for (const row of await bench.measure()) {
      rows.push(row)
      printRow(row)
    }
  return rows
}
