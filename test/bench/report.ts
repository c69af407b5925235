/** One line of a suite's result: ratio is ours to theirs, larger is better. */
export interface Row {
  readonly work: string
  readonly peer: string
  readonly ratio: number
  readonly unit: string
  readonly ours: number
  readonly theirs: number
}

/** Three significant digits, as a measurement on a busy machine deserves. */
const round = (value: number): number => Number(value.toPrecision(3))

export const printRow = ({ work, peer, ratio, unit, ours, theirs }: Row): void =>
  console.log(
    `${work.padEnd(46)} ${String(round(ours)).padStart(9)} ${String(round(theirs)).padStart(9)} ${unit.padEnd(10)} ${round(ratio).toFixed(2).padStart(7)} ×  ${peer}`,
  )

export const printHeader = (): void =>
  console.log(
    `${'work'.padEnd(46)} ${'ours'.padStart(9)} ${'theirs'.padStart(9)} ${'unit'.padEnd(10)} ${'ratio'.padStart(9)}  peer`,
  )
