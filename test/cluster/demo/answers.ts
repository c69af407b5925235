/** Held-out paragraphs, what base and tuned model make of them, and how near each stays to its input. */

import { editDistance, isCopy } from '../../../trainer-image/evaluate/copying.ts'
import { type Cluster, kubectl } from '../kubectl.ts'
import { say } from './say.ts'
import { table, wrap } from './table.ts'

export interface HeldOut {
  /** The damaged text that the model is given. */
  readonly input: string
  /** The human's own words. */
  readonly original: string
}
export interface Answers {
  readonly base: string
  readonly tuned: string
}

/** Written by a language model, for this demo; shown unedited. */
const aiWritten =
  'In conclusion, it is important to note that the seaside town offers a multitude of unique experiences. Moreover, its vibrant ' +
  'culture and rich history serve as a testament to the resilience of its people.'

/** The first `count` short rows of the dataset's validation split, read inside a serving pod with the trainer image's own DuckDB. */
export async function heldOut(
  cluster: Cluster,
  namespace: string,
  release: string,
  location: string,
  count: number,
): Promise<readonly HeldOut[]> {
  const program = `
    const { DuckDBInstance } = await import('@duckdb/node-api')
    const connection = await (await DuckDBInstance.create(':memory:')).connect()
    const reader = await connection.runAndReadAll("SELECT input, target FROM read_parquet('/data/${location}/validation.parquet') WHERE length(target) < 420 ORDER BY id LIMIT ${count}")
    console.log(JSON.stringify(reader.getRowObjectsJson()))`
  const output = await kubectl(cluster, [
    '-n',
    namespace,
    'exec',
    `service/${release}`,
    '--',
    'node',
    '--input-type=module',
    '-e',
    program,
  ])
  const rows = JSON.parse(output) as { input: string; target: string }[]
  if (rows.length !== count) throw new Error(`validation has ${rows.length} short texts; the story needs ${count}`)
  return rows.map(({ input, target }) => ({ input, original: target }))
}

async function rewrite(url: string, model: string, text: string, maxTokens: number): Promise<string> {
  const response = await fetch(`${url}/v1/rewrite`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, text, temperature: 0, max_tokens: maxTokens }),
  })
  const body = (await response.json()) as { text?: string; error?: { message: string } }
  if (!response.ok || body.text === undefined) throw new Error(`/v1/rewrite: ${response.status} ${body.error?.message}`)
  return body.text
}

export async function rewriteAll(
  url: string,
  release: string,
  texts: readonly HeldOut[],
  maxTokens: number,
): Promise<readonly Answers[]> {
  const answers: Answers[] = []
  for (const { input } of texts) {
    answers.push({
      base: await rewrite(url, `${release}@base`, input, maxTokens),
      tuned: await rewrite(url, release, input, maxTokens),
    })
  }
  return answers
}

/** Prints each paragraph four times and a table of distances with the copy baseline as its own row. */
export function compare(texts: readonly HeldOut[], answers: readonly Answers[]): void {
  texts.forEach(({ input, original }, index) => {
    say(`held-out paragraph ${index + 1}`)
    const rows = { input, base: answers[index]!.base, tuned: answers[index]!.tuned, original }
    for (const [name, text] of Object.entries(rows))
      console.log(`   ${name.padEnd(9)}${wrap(text, 100, ' '.repeat(12)).trimStart()}`)
  })
  const mean = (pick: (index: number) => number): string =>
    (texts.reduce((sum, _, index) => sum + pick(index), 0) / texts.length).toFixed(3)
  const row = (name: string, output: (index: number) => string): readonly string[] => [
    name,
    mean((index) => editDistance(output(index), texts[index]!.original)),
    mean((index) => editDistance(output(index), texts[index]!.input)),
    `${texts.filter(({ input }, index) => isCopy(input, output(index))).length} of ${texts.length}`,
  ]
  console.log(
    table(
      ['output', 'distance to original', 'distance to input', 'copies'],
      [
        row('copy of the input', (index) => texts[index]!.input),
        row('base', (index) => answers[index]!.base),
        row('tuned', (index) => answers[index]!.tuned),
      ],
    ),
  )
}

/** One AI-written paragraph through base and tuned model, unedited; resolves which of the two are copies of it, in words. */
export async function compareAiWritten(url: string, release: string, maxTokens: number): Promise<string> {
  const base = await rewrite(url, `${release}@base`, aiWritten, maxTokens)
  const tuned = await rewrite(url, release, aiWritten, maxTokens)
  say('an AI-written paragraph')
  for (const [name, text] of Object.entries({ input: aiWritten, base, tuned })) {
    console.log(`   ${name.padEnd(9)}${wrap(text, 100, ' '.repeat(12)).trimStart()}`)
  }
  return `copyRate of base ${isCopy(aiWritten, base) ? 1 : 0}, of tuned ${isCopy(aiWritten, tuned) ? 1 : 0} (one paragraph)`
}
