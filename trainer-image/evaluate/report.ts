import type { Diagnosis, EvaluationResult, Metric } from '#proto/humanizer/trainer/v1/run.ts'
import type { HistoryEntry } from './findings.ts'
import { lossCurves } from './loss-curves.ts'
import { type MetricKind, type MetricName, metricKinds } from './metrics.ts'
import { escaped, list, marked, pageOf } from './page.ts'

/** One line of the table of metrics. */
export interface Row {
  readonly name: string
  readonly metrics: readonly Metric[]
}

/** One text, and what was made of it. */
export interface ReviewedSample {
  readonly id: string
  readonly input: string
  /** Undefined where a machine wrote the input. */
  readonly human: string | undefined
  readonly base: string | undefined
  readonly best: string | undefined
}

/** Something that an experiment must have, and what shows that it has. */
export interface CheckedItem {
  readonly item: string
  readonly done: boolean
  readonly evidence: string
}

/** All that report.html shows; rows: base, best, newest, the copied input and the human text, as far as there are. */
export interface RunFacts {
  readonly title: string
  readonly about: Readonly<Record<string, string>>
  readonly diagnosis: Diagnosis
  readonly baseline: EvaluationResult | undefined
  readonly bestStep: number | undefined
  readonly history: readonly HistoryEntry[]
  readonly rows: readonly Row[]
  readonly samples: readonly ReviewedSample[]
  readonly checklist: readonly CheckedItem[]
  readonly warnings: readonly string[]
}

/** Samples shown; all of them are in samples.jsonl. */
const SHOWN = 40

/** The report of a run, to be read in five minutes. */
export function htmlOf(facts: RunFacts): string {
  const { title, about, diagnosis, rows, samples, checklist, warnings } = facts
  const body = `<section class="verdict ${escaped(diagnosis.verdict)}"><h2>${escaped(diagnosis.verdict)}</h2>
${list(diagnosis.findings.map(({ verdict, evidence }) => `${verdict === diagnosis.verdict ? '' : `${verdict}: `}${evidence}`))}
${diagnosis.advice.length > 0 ? `<p>To try in the next run:</p>${list(diagnosis.advice)}` : ''}</section>
${warnings.length > 0 ? `<h2>Warnings</h2>${list(warnings)}` : ''}
<h2>Loss</h2>
<p class="key"><span class="training">training</span> <span class="held-out">held-out</span> <span class="baseline">the untouched base (dashed)</span>; nats per label token. The ring is the best checkpoint.</p>
${lossCurves(facts.history, facts.baseline?.loss, facts.bestStep)}
<h2>What was written, in figures</h2>
${rows.length > 0 ? metricsTable(rows) : '<p>No outputs were measured.</p>'}
<h2>What was written</h2>
${samples.length > 0 ? samplesOf(samples) : '<p>No samples were written (evaluation.samples).</p>'}
<h2>Checklist</h2>
<table><tr><th>item</th><th>done</th><th>evidence</th></tr>
${checklist.map(({ item, done, evidence }) => `<tr><td>${escaped(item)}</td><td class="${done ? 'done' : 'open'}">${done ? 'yes' : 'no'}</td><td>${escaped(evidence)}</td></tr>`).join('\n')}
</table>`
  return pageOf({ title, about, body, style })
}

function metricsTable(rows: readonly Row[]): string {
  const names = (Object.keys(metricKinds) as MetricName[]).filter((name) => rows.some((row) => find(row, name)))
  const body = names.map((name) => {
    const { unit, better, about }: MetricKind = metricKinds[name]
    const says = better === 'None' ? '' : `, ${better.toLowerCase()} is better`
    const cells = rows.map((row) => `<td>${cell(find(row, name))}</td>`).join('')
    return `<tr><th scope="row" title="${escaped(about)}">${name}<small>${escaped(about)} (${escaped(unit)}${says})</small></th>${cells}</tr>`
  })
  const head = rows.map(({ name }) => `<th>${escaped(name)}</th>`).join('')
  return `<p>Below each figure its 95 % interval by bootstrap over the texts. The copy of the input and the human text are there to compare with.</p>
<table class="metrics"><tr><th></th>${head}</tr>\n${body.join('\n')}\n</table>`
}

const find = ({ metrics }: Row, name: string): Metric | undefined => metrics.find((metric) => metric.name === name)

function cell(metric: Metric | undefined): string {
  if (metric === undefined) return '–'
  const { value, low, high } = metric
  const interval = low === undefined || high === undefined ? '' : `<small>${short(low)} to ${short(high)}</small>`
  return `${short(value)}${interval}`
}

const short = (value: number): string => Number(value.toPrecision(3)).toString()

function samplesOf(samples: readonly ReviewedSample[]): string {
  const shown = samples.slice(0, SHOWN)
  const against = (input: string, output: string | undefined): string =>
    output === undefined ? '–' : marked(input, output)
  const body = shown.map(
    ({ id, input, human, base, best }) =>
      `<tr><td class="text"><small>${escaped(id)}</small>${escaped(input)}</td><td class="text">${against(input, base)}</td>` +
      `<td class="text">${against(input, best)}</td><td class="text">${human === undefined ? '– (a machine wrote the input)' : escaped(human)}</td></tr>`,
  )
  const rest = samples.length > SHOWN ? `<p>The first ${SHOWN} of ${samples.length}; samples.jsonl has all.</p>` : ''
  return `<p><ins>Added</ins> and <del>left out</del> against the input.</p>
<table class="samples"><tr><th>input</th><th>base</th><th>best checkpoint</th><th>human</th></tr>\n${body.join('\n')}\n</table>${rest}`
}

const style = `
.verdict { border-left: 6px solid var(--bad); background: var(--bad-shade); padding: .1rem 1rem .6rem; margin: 1.2rem 0 } .verdict h2 { margin: .6rem 0 0 }
.verdict.Healthy { border-color: var(--good); background: var(--good-shade) } .verdict.Unknown { border-color: var(--caution); background: var(--caution-shade) }
.metrics td { white-space: nowrap; font-variant-numeric: tabular-nums } .done { color: var(--good); font-weight: 600 } .open { color: var(--caution) }
polyline { fill: none; stroke-width: 2 } g.training { stroke: var(--blue); fill: var(--blue) } g.held-out { stroke: var(--orange); fill: var(--orange) }
line.baseline { stroke: var(--soft); stroke-dasharray: 5 4 } circle.best { fill: none; stroke: var(--good); stroke-width: 2 }
.key .training { color: var(--blue); font-weight: 600 } .key .held-out { color: var(--orange); font-weight: 600 } .key .baseline { color: var(--soft) }
`
