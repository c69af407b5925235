/** tokenize.ts BASE RESULT: tokenises the fixture's prose and packs it into sequences of 1,024, a round; sums of the ids go into RESULT. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { openModel } from '../../../trainer-image/model/open.ts'
import { packBins } from '../../../trainer-image/train/packing.ts'
import { answerRounds } from '../answering.ts'
import { proseRounds } from './prose-rounds.ts'

const [base = '', result = ''] = process.argv.slice(2)
const { tokenizer } = await openModel(base)

await answerRounds(async () => {
  const ids = proseRounds().map((text) => tokenizer.encode(text))
  packBins(
    ids.map(({ length }) => Math.min(length, 1024)),
    1024,
    42,
  )
  const sum = createHash('sha256')
  for (const each of ids) sum.update(each)
  const tokens = ids.reduce((total, { length }) => total + length, 0)
  writeFileSync(result, JSON.stringify({ tokens, sum: sum.digest('hex') }))
})
