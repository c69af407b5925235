import type { HistoryEntry } from './findings.ts'

const WIDTH = 720
const HEIGHT = 240
const MARGIN = { left: 52, right: 12, top: 12, bottom: 30 }

interface Point {
  readonly step: number
  readonly loss: number
}

/** Training and held-out loss over the steps as SVG, with the baseline as a dashed line and the best step marked. */
export function lossCurves(
  history: readonly HistoryEntry[],
  baseline: number | undefined,
  bestStep: number | undefined,
): string {
  const pick = (field: 'loss' | 'eval_loss'): Point[] =>
    history.flatMap((entry) => (entry[field] === undefined ? [] : [{ step: entry.step, loss: entry[field] }]))
  const held = pick('eval_loss')
  const series = [
    { name: 'training', points: pick('loss') },
    { name: 'held-out', points: baseline === undefined ? held : [{ step: 0, loss: baseline }, ...held] },
  ].filter(({ points }) => points.length > 0)
  const points = series.flatMap(({ points }) => points)
  if (points.length === 0) return '<p>No loss was recorded.</p>'
  const lastStep = Math.max(...points.map(({ step }) => step), 1)
  const [low, high] = [Math.min(...points.map(({ loss }) => loss)), Math.max(...points.map(({ loss }) => loss))]
  const room = Math.max(high - low, 1e-6) * 0.08
  const x = (step: number): number => MARGIN.left + (step / lastStep) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (loss: number): number =>
    MARGIN.top + ((high + room - loss) / (high - low + 2 * room)) * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const at = (value: number): string => value.toFixed(1)
  const ticks = [0, 1, 2, 3, 4].map((part) => low + ((high - low) * part) / 4)
  const lines = series.map(({ name, points }) => {
    const path = points.map(({ step, loss }) => `${at(x(step))},${at(y(loss))}`).join(' ')
    const dots = points.map(({ step, loss }) => `<circle cx="${at(x(step))}" cy="${at(y(loss))}" r="2.5"/>`).join('')
    return `<g class="${name}"><polyline points="${path}"/>${dots}</g>`
  })
  const best = held.find(({ step }) => step === bestStep)
  return [
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Training and held-out loss by step">`,
    ...ticks.map(
      (loss) =>
        `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at(y(loss))}" y2="${at(y(loss))}"/>` +
        `<text x="${MARGIN.left - 6}" y="${at(y(loss) + 4)}" text-anchor="end">${loss.toFixed(2)}</text>`,
    ),
    ...(['start', 'middle', 'end'] as const).map((anchor, half) => {
      const step = (half * lastStep) / 2
      return `<text x="${at(x(step))}" y="${HEIGHT - 8}" text-anchor="${anchor}">step ${Math.round(step)}</text>`
    }),
    ...(baseline === undefined
      ? []
      : [
          `<line class="baseline" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at(y(baseline))}" y2="${at(y(baseline))}"/>`,
        ]),
    ...lines,
    ...(best ? [`<circle class="best" cx="${at(x(best.step))}" cy="${at(y(best.loss))}" r="6"/>`] : []),
    '</svg>',
  ].join('\n')
}
