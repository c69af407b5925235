/** The ragged texts of the benchmarks: human prose in the SFT format, as a sealed dataset for the trainer and as rows of messages for TRL. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { openModel } from '../../trainer-image/model/open.ts'
import { hexOf } from '../../trainer-image/storage/digest.ts'
import { openDataset, readRows } from '../../trainer-image/train/dataset.ts'
import { type Example, promptMessages, renderExample, templateDate } from '../../trainer-image/train/example.ts'
import { writeDataset } from '../fixtures/dataset.ts'
import { baseInClaim } from './engine/trainer-run.ts'

const texts: readonly string[] = readFileSync(join(import.meta.dirname, '../fixtures/prose.jsonl'), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line).text)

export interface Prose {
  readonly datasetDigest: string
  /** JSON lines of {prompt, completion}. */
  readonly rows: string
  readonly examples: readonly Example[]
  /** Of all examples, prompts included. */
  readonly tokens: number
}

/** `count` texts from all over the corpus, rendered for the base in the claim; none is held out. */
export async function writeProse(claim: string, count: number): Promise<Prose> {
  const chosen = Array.from({ length: count }, (_, i) => texts[Math.floor((i * texts.length) / count)]!)
  const datasetDigest = await writeDataset(claim, { texts: chosen, validationEvery: 0, trainPercent: 100 })
  const dataset = await openDataset(join(claim, 'datasets', hexOf(datasetDigest)), datasetDigest)
  const codec = { ...(await openModel(join(claim, baseInClaim))), dateString: templateDate }
  const rows = join(claim, 'prose.jsonl')
  const lines: string[] = []
  const examples: Example[] = []
  for await (const { id, input, target } of readRows(dataset, 'train')) {
    const completion = [{ role: 'assistant', content: target }]
    lines.push(JSON.stringify({ prompt: promptMessages(dataset.format, input), completion }))
    examples.push(renderExample(codec, dataset.format, { id, input, target, trainsOnInput: false }))
  }
  writeFileSync(rows, `${lines.join('\n')}\n`)
  return { datasetDigest, rows, examples, tokens: examples.reduce((sum, { tokens }) => sum + tokens.length, 0) }
}
