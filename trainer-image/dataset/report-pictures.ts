import type { DataCounts } from '#proto/humanizer/trainer/v1/preparation.ts'
import { escaped } from '../evaluate/page.ts'
import { type Removal, ruleNames } from './funnel.ts'
import { type Lengths, lowestOf } from './lengths.ts'

const WIDTH = 760

/** What is left after each group of rules. A step whose rules removed nothing anywhere is left out. */
const steps: readonly { readonly left: string; readonly rules: readonly Removal[] }[] = [
  { left: 'human-written', rules: ['notHuman'] },
  { left: 'of fitting length', rules: ['tooShort', 'tooLong', 'tooFewWords'] },
  { left: 'in the languages', rules: ['otherLanguage'] },
  { left: 'without evaluation texts', rules: ['contaminated'] },
  { left: 'without exact copies', rules: ['exactDuplicates'] },
  { left: 'without near copies', rules: ['nearDuplicates'] },
]

/** From read to kept, one funnel for each source and, when there are several, one for all, as SVG. */
export function funnelPicture(funnels: readonly { readonly name: string; readonly counts: DataCounts }[]): string {
  const LINE = 19
  const [left, right] = [190, 170]
  const lines: string[] = []
  let y = 4
  const bar = (name: string, count: number, read: number, kind: string, title: string): void => {
    const width = ((WIDTH - left - right) * count) / Math.max(read, 1)
    const share = read > 0 ? `${((100 * count) / read).toFixed(1)} %` : '–'
    lines.push(
      `<text x="${left - 8}" y="${y + 13}" text-anchor="end">${escaped(name)}</text>` +
        `<rect class="${kind}" x="${left}" y="${y + 2}" width="${Math.max(width, count > 0 ? 1 : 0).toFixed(1)}" height="14"><title>${escaped(title)}</title></rect>` +
        `<text x="${left + width + 6}" y="${y + 13}">${count} · ${share}</text>`,
    )
    y += LINE
  }
  for (const { name, counts } of funnels) {
    lines.push(`<text class="name" x="0" y="${y + 13}">${escaped(name)}</text>`)
    y += LINE
    let rest = counts.read
    bar('read', rest, counts.read, 'read', 'rows read')
    for (const { left, rules } of steps) {
      if (!funnels.some(({ counts }) => rules.some((rule) => counts[rule] > 0))) continue
      const removed = rules.map((rule) => `${ruleNames[rule]}: ${counts[rule]}`)
      for (const rule of rules) rest -= counts[rule]
      bar(left, rest, counts.read, 'rest', `removed as ${removed.join(', ')}`)
    }
    bar('train', counts.train, counts.read, 'train', 'rows to train on')
    bar('validation', counts.validation, counts.read, 'validation', 'rows to validate on')
    y += LINE / 2
  }
  return `<svg class="funnel" viewBox="0 0 ${WIDTH} ${y}" role="img" aria-label="Rows from read to kept, by source">${lines.join('\n')}</svg>`
}

/** How long the texts are: grey what humans wrote, blue what was kept of it, as SVG. */
export function lengthPicture({ name, human, kept }: Lengths): string {
  const [height, bottom, top] = [110, 22, 14]
  const used = human.flatMap((count, bin) => (count > 0 ? [bin] : []))
  if (used.length === 0) return `<p>${escaped(name)}: no human-written text.</p>`
  const [first, last] = [Math.max((used[0] as number) - 1, 0), Math.min((used.at(-1) as number) + 1, human.length - 1)]
  const most = Math.max(...human)
  const width = (WIDTH - 10) / (last - first + 1)
  const tall = (count: number): number => ((height - bottom - top) * count) / most
  const bars: string[] = []
  for (let bin = first; bin <= last; bin++) {
    const x = 5 + (bin - first) * width
    const [all, of] = [human[bin] as number, kept[bin] as number]
    const said = `${lowestOf(bin)} to ${lowestOf(bin + 1) - 1} characters: ${all} human-written, ${of} kept`
    const rect = (kind: string, count: number): string =>
      count === 0
        ? ''
        : `<rect class="${kind}" x="${(x + 1).toFixed(1)}" y="${(height - bottom - tall(count)).toFixed(1)}" width="${(width - 2).toFixed(1)}" height="${tall(count).toFixed(1)}"><title>${said}</title></rect>`
    const label = bin % 2 === 0 ? `<text x="${(x + 1).toFixed(1)}" y="${height - 8}">${lowestOf(bin)}</text>` : ''
    bars.push(`${rect('human', all)}${rect('kept', of)}${label}`)
  }
  return [
    `<svg class="lengths" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="Lengths of the texts of ${escaped(name)} in characters">`,
    `<text class="name" x="5" y="11">${escaped(name)}</text>`,
    `<line class="grid" x1="5" x2="${WIDTH - 5}" y1="${height - bottom}" y2="${height - bottom}"/>`,
    ...bars,
    '</svg>',
  ].join('\n')
}
