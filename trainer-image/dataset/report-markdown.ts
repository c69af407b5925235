import { plain } from './card.ts'
import { excerptOf } from './collect.ts'
import { removals, ruleNames } from './funnel.ts'
import { likeWhat, type Report, rulesInWords } from './report.ts'

/** The report for people, as Markdown. */
export function markdownOf(report: Report): string {
  const { counts } = report
  const bars = removals.map((rule) => bar(ruleNames[rule], counts[rule], counts.read))
  const lines = [
    '# Dataset report',
    '',
    report.summary,
    '',
    `Digest: ${report.digest}`,
    '',
    ...(report.machineTexts > 0
      ? [`${report.machineTexts} machine-written texts were set aside for the evaluation (ai_inputs.parquet).`, '']
      : []),
    '```',
    bar('read', counts.read, counts.read),
    ...bars,
    bar('train', counts.train, counts.read),
    bar('validation', counts.validation, counts.read),
    '```',
    ...section(
      'Warnings',
      report.warnings.map((warning) => `- ${plain(warning)}`),
    ),
    ...section('Funnel', [
      row([
        'source',
        'read',
        ...removals.map((rule) => ruleNames[rule]),
        'train',
        'validation',
        "copies of another source's text",
      ]),
      `|---|${'---:|'.repeat(removals.length + 4)}`,
      ...report.sources.map(({ name, counts: of }) =>
        row([name, of.read, ...removals.map((rule) => of[rule]), of.train, of.validation, of.crossSourceDuplicates]),
      ),
    ]),
    ...section('Sources and licences', [
      row(['source', 'revision', 'licence', 'declared by', 'text column', 'human-written rows', 'files']),
      '|---|---|---|---|---|---|---:|',
      ...report.sources.map((source) =>
        row([
          source.name,
          source.revision || '–',
          source.license || 'undeclared',
          source.licenseEvidence,
          source.textColumn,
          source.human.join(' and ') || 'all',
          source.files,
        ]),
      ),
    ]),
    ...section(
      'What copying the input would score',
      report.copyBaselines.map(
        ({ kind, examples: of, wordF1 }) =>
          `- ${kind}, ${of} examples: ${(100 * wordF1).toFixed(1)} % of the words (F1)`,
      ),
    ),
    ...section(
      'Contamination',
      report.evaluationSets.map(
        ({ name, texts, tooShort }) =>
          `- ${plain(name)}: ${texts} texts${tooShort > 0 ? `, ${tooShort} more too short to look for` : ''}`,
      ),
    ),
    ...section(
      'Largest duplicate clusters',
      report.largestClusters.map(({ id, size, text }) => `- ${size} × ${id}: ${plain(excerptOf(text))}`),
    ),
    ...section(
      'Examples of what was removed',
      report.examples.map(
        ({ id, rule, excerpt, duplicateOf }) =>
          `- ${ruleNames[rule]}, ${id}${duplicateOf ? ` (${likeWhat(rule)}: ${duplicateOf})` : ''}: ${plain(excerpt) || '(empty)'}`,
      ),
    ),
    ...section(
      'Rules',
      rulesInWords(report).map((rule) => `- ${rule}`),
    ),
    ...section('Approve', report.approve === '' ? [] : ['```', report.approve, '```']),
  ]
  return `${lines.join('\n')}\n`
}

const section = (title: string, lines: readonly string[]): string[] =>
  lines.length === 0 ? [] : ['', `## ${title}`, '', ...lines]
const row = (cells: readonly (string | number)[]): string =>
  `| ${cells.map((cell) => plain(String(cell))).join(' | ')} |`

function bar(name: string, count: number, of: number): string {
  const width = of === 0 ? 0 : Math.ceil((40 * count) / of)
  return `${name.padEnd(18)} ${'█'.repeat(width).padEnd(40)} ${count}`
}
