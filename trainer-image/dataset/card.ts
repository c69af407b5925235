import type { Report } from './report.ts'

/** The identifiers that the Hub has for licences, as far as they are SPDX in lower case. */
const HUB_LICENSE =
  /^(mit|apache-2\.0|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.[05]|odc-by|pddl|odbl|gpl-[23]\.0|bsd-[23]-clause)$/

/** README.md of the folder: the card that the Hub shows and that `datasets` takes the splits from. Splits without rows are left out. */
export function cardOf(report: Report): string {
  const { counts, sources, digest, dataset, evaluationSets, machineTexts, rules } = report
  const split = (name: string, file: string) => [`      - split: ${name}`, `        path: ${file}`]
  const licenses = [...new Set(sources.map(({ license }) => license.toLowerCase()))]
  const known = licenses.every((license) => HUB_LICENSE.test(license))
  const lines = [
    '---',
    `pretty_name: ${JSON.stringify(dataset || 'Human-written text')}`,
    ...(known ? ['license:', ...licenses.map((license) => `  - ${license}`)] : ['license: other']),
    ...(rules.cleaning.languages.length > 0
      ? ['language:', ...rules.cleaning.languages.map((code) => `  - ${code}`)]
      : []),
    'task_categories:',
    '  - text-generation',
    'size_categories:',
    `  - ${sizeOf(counts.train + counts.validation)}`,
    'configs:',
    '  - config_name: default',
    '    default: true',
    '    data_files:',
    ...split('train', 'train.parquet'),
    ...(counts.validation > 0 ? split('validation', 'validation.parquet') : []),
    ...(machineTexts > 0
      ? ['  - config_name: ai_inputs', '    data_files:', ...split('test', 'ai_inputs.parquet')]
      : []),
    '---',
    '',
    `# ${plain(dataset || 'Human-written text')}`,
    '',
    report.summary,
    '',
    `The rows are identified by ${digest}. \`report.html\` says how they came to be, \`dataset.json\` holds the prompts that they are rendered with.`,
    '',
    '| column | |',
    '|---|---|',
    ...columns.map(([name, about]) => `| ${name} | ${about} |`),
    '',
    'The configuration `ai_inputs` is a sample of machine-written text, for evaluation; nothing was trained on it.',
    '',
    '| source | revision | licence | rows |',
    '|---|---|---|---:|',
    ...sources.map(
      ({ name, revision, license, counts: of }) =>
        `| ${plain(name)} | ${plain(revision || '–')} | ${plain(license || 'undeclared')} | ${of.train + of.validation} |`,
    ),
    ...(evaluationSets.length > 0
      ? [
          '',
          `No text shares ${rules.ngramWords} words in a row with ${evaluationSets.map(({ name }) => plain(name)).join(', ')}.`,
        ]
      : []),
  ]
  return `${lines.join('\n')}\n`
}

const columns = [
  ['id', 'source and row'],
  ['source', 'name of the source'],
  ['revision', 'commit or sum of the source'],
  ['license', 'licence of the source'],
  ['cluster', 'texts of one cluster never stand in two splits'],
  ['kind', 'Identity, Denoise or Paired'],
  ['input', 'what the model is given'],
  ['target', 'what a human wrote'],
] as const

/** The Hub's words for how many rows there are. */
function sizeOf(rows: number): string {
  const bounds = ['1K', '10K', '100K', '1M', '10M', '100M', '1B']
  const at = bounds.findIndex((_, i) => rows < 10 ** (3 + i))
  return at < 0 ? 'n>1B' : at === 0 ? 'n<1K' : `${bounds[at - 1]}<n<${bounds[at]}`
}

/** Text that Markdown shows as it is. */
export const plain = (text: string): string => text.replace(/[\\|`<>*_[\]]/g, '\\$&')
