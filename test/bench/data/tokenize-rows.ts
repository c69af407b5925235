/** Tokenising and packing beside Hugging Face's Rust tokenizers: the ids must be identical. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { writeBase } from '../base.ts'
import { Contender, inTurns } from '../contender.ts'
import { python } from '../python.ts'
import type { Bench } from '../report.ts'
import { pairs } from '../settings.ts'
import { proseRounds } from './prose-rounds.ts'

const here = (path: string): string => join(import.meta.dirname, path)
const work = 'tokenize-vs-hf-rust'

export function tokenizing(claim: string, threads: number): Bench {
  const measure = async () => {
    const [base, texts] = [join(claim, 'base'), join(claim, 'texts.json')]
    await writeBase(base)
    writeFileSync(texts, JSON.stringify(proseRounds()))
    const [mineIn, theirsIn] = [join(claim, 'ours.ids'), join(claim, 'theirs.ids')]
    await using mine = new Contender(process.execPath, [here('tokenize.ts'), base, mineIn])
    await using theirs = new Contender(python('requirements-data.txt'), [
      here('../peer/tokenizing.py'),
      ...[base, texts, theirsIn, String(threads)],
    ])
    const pair = await inTurns(mine, theirs, pairs)
    const [ours, other] = [mineIn, theirsIn].map((path) => JSON.parse(readFileSync(path, 'utf8'))) as [
      { tokens: number; sum: string },
      { tokens: number; sum: string },
    ]
    if (ours.sum !== other.sum) throw new Error(`${work}: the ids differ`)
    const { tokens } = ours
    const row = { ours: tokens / pair.ours, theirs: tokens / pair.theirs, ratio: pair.ratio }
    return [{ work, peer: 'tokenizers 0.23.3 (Rust)', unit: 'tokens/s', ...row }]
  }
  return { works: [work], measure }
}
