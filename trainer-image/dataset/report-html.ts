import { escaped, list, marked, pageOf } from '../evaluate/page.ts'
import { removals, ruleNames } from './funnel.ts'
import { likeWhat, type Report, rulesInWords } from './report.ts'
import { funnelPicture, lengthPicture } from './report-pictures.ts'

/** The report for people: what came in, what was taken out and why, and how it is approved. */
export function htmlOf(report: Report): string {
  const { counts, sources, warnings, rules, machineTexts } = report
  return pageOf({
    title: `Dataset ${report.dataset || 'without a name'}`,
    about: {
      digest: report.digest,
      rows: `${counts.train} to train on, ${counts.validation} to validate on, of ${counts.read} read`,
      sample: rules.format.sample,
      ...(machineTexts > 0 && {
        'set aside': `${machineTexts} machine-written texts for the evaluation (ai_inputs.parquet)`,
      }),
    },
    style,
    body: [
      `<p>${escaped(report.summary)}</p>`,
      section(
        'Warnings',
        warnings.length > 0
          ? `<div class="warnings">${list(warnings)}</div>`
          : '<p>None; look at the samples all the same.</p>',
      ),
      section(
        'From read to kept',
        wide(funnelPicture([...(sources.length > 1 ? [{ name: 'all sources', counts }] : []), ...sources])),
      ),
      section(
        'Lengths',
        `<p>In characters; each column is for texts 1.4 times as long as the one before. Grey what humans wrote, as cleaning left it; blue what was kept of it.</p>
${wide(report.lengths.map(lengthPicture).join('\n'))}`,
      ),
      section('Sources and licences', licenses(report)),
      section('What copying the input would score', copyBaselines(report)),
      section('Contamination', contamination(report)),
      section('Duplicates', duplicates(report)),
      section('Largest duplicate clusters', clusters(report)),
      section('What each rule removed', removed(report)),
      section('Rules', list(rulesInWords(report))),
      section('Approve', approval(report)),
    ].join('\n'),
  })
}

/** Scrolls by itself in a narrow window. */
const wide = (pictures: string): string => `<div class="wide">${pictures}</div>`

const section = (title: string, body: string): string => `<h2>${title}</h2>\n${body}`

const table = (head: readonly string[], rows: readonly (readonly string[])[], kind = ''): string =>
  `<table${kind && ` class="${kind}"`}><tr>${head.map((cell) => `<th>${escaped(cell)}</th>`).join('')}</tr>
${rows.map((row) => `<tr>${row.join('')}</tr>`).join('\n')}</table>`
const cell = (text: string | number): string => `<td>${escaped(String(text))}</td>`
const textCell = (id: string, markup: string): string => `<td class="text"><small>${escaped(id)}</small>${markup}</td>`

const licenses = ({ sources }: Report): string =>
  table(
    ['source', 'revision', 'licence', 'declared by', 'text column', 'human-written rows', 'files'],
    sources.map((source) => [
      cell(source.name),
      `<td class="text">${escaped(source.revision || '–')}</td>`,
      source.license === '' ? '<td class="missing">undeclared</td>' : cell(source.license),
      cell(source.licenseEvidence),
      cell(source.textColumn),
      cell(source.human.join(' and ') || 'all'),
      cell(source.files),
    ]),
  )

const copyBaselines = ({ copyBaselines, rules }: Report): string =>
  `<p>F1 of the words of the input against those of the text that is asked for. At 100 % a model that copies has nothing to learn.</p>
${table(
  ['sample', 'copying scores', 'measured on'],
  copyBaselines.map(({ kind, examples, wordF1 }) => [
    cell(kind === rules.format.sample ? `${kind} (this dataset)` : kind),
    cell(`${(100 * wordF1).toFixed(1)} %`),
    cell(`${examples} texts`),
  ]),
)}`

const contamination = ({ evaluationSets, counts, rules }: Report): string =>
  evaluationSets.length === 0
    ? '<p>No evaluation set was named (spec.decontamination): nothing is known.</p>'
    : `<p>${counts.contaminated} texts were removed because they share ${rules.ngramWords} words in a row with an evaluation text, or nearly repeat one.</p>
${table(
  ['evaluation set', 'revision', 'texts', 'too short to look for'],
  evaluationSets.map(({ name, revision, texts, tooShort }) => [
    cell(name),
    `<td class="text">${escaped(revision || '–')}</td>`,
    cell(texts),
    cell(tooShort),
  ]),
)}`

const duplicates = ({ sources }: Report): string =>
  table(
    ['source', 'exact', 'near', 'of these: copies of another source', 'of its own'],
    sources.map(({ name, counts: { exactDuplicates, nearDuplicates, crossSourceDuplicates } }) => [
      cell(name),
      cell(exactDuplicates),
      cell(nearDuplicates),
      cell(crossSourceDuplicates),
      cell(exactDuplicates + nearDuplicates - crossSourceDuplicates),
    ]),
  )

function clusters({ largestClusters }: Report): string {
  if (largestClusters.length === 0) return '<p>No text has a copy.</p>'
  const shown = largestClusters.map(({ id, text, size, nearCopies, near }) => {
    const columns = [
      textCell(`kept: ${id}`, escaped(text)),
      ...near.map((copy) => textCell(`dropped: ${copy.id}`, marked(text, copy.text))),
    ]
    return `<h3>${size} texts: one kept, ${nearCopies} near ${nearCopies === 1 ? 'copy' : 'copies'}, ${size - 1 - nearCopies} that ${size - 1 - nearCopies === 1 ? 'reads' : 'read'} the same</h3>\n<table class="samples"><tr>${columns.join('')}</tr></table>`
  })
  return `<p><ins>Only in the copy</ins>, <del>only in the text that was kept</del>.</p>\n${shown.join('\n')}`
}

function removed({ counts, examples }: Report): string {
  const rules = removals.filter((rule) => counts[rule] > 0)
  if (rules.length === 0) return '<p>Nothing was removed.</p>'
  return rules
    .map((rule) => {
      const rows = examples
        .filter((example) => example.rule === rule)
        .map(({ id, excerpt, duplicateOf }) => [
          cell(id),
          textCell(duplicateOf ? `${likeWhat(rule)}: ${duplicateOf}` : '', escaped(excerpt) || '(empty)'),
        ])
      return `<h3>${ruleNames[rule]}: ${counts[rule]}</h3>\n${table(['row', 'text, a few drawn by lot'], rows, 'removed')}`
    })
    .join('\n')
}

const approval = ({ digest, approve }: Report): string =>
  approve === ''
    ? '<p>Prepared without an operator: there is no object to approve.</p>'
    : `<p>With <code>spec.review.required</code> a run waits until the dataset's <code>spec.review.approvedDigest</code> is <code>${escaped(digest)}</code>:</p>
<pre>${escaped(approve)}</pre>`

const style = `
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem } .warnings { border-left: 6px solid var(--caution); background: var(--caution-shade); padding: .1rem 1rem } .missing { color: var(--bad); font-weight: 600 }
.removed th:first-child { width: 12rem } pre { background: var(--shade); padding: .7rem 1rem; overflow-x: auto; user-select: all } code { overflow-wrap: anywhere }
svg .name { fill: var(--ink); font-weight: 600 } .funnel .read, .lengths .human { fill: light-dark(#c9d4e0, #46525f) } .funnel .rest { fill: light-dark(#8fb2e5, #3c64a0) } .funnel .train, .lengths .kept { fill: var(--blue) } .funnel .validation { fill: var(--orange) }
@media (max-width: 46rem) { .samples tbody, .samples tr, .samples td { display: block } }
`
