/** Metrics of texts against rouge-score and nltk: make_rouge.py says what rouge.json holds. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { rougeL, wordOverlap } from '../../trainer-image/evaluate/content.ts'
import { distinct, sequenceRepetition } from '../../trainer-image/evaluate/repetition.ts'

const { pairs, ngrams } = JSON.parse(readFileSync(new URL('golden/rouge.json', import.meta.url), 'utf8')) as {
  pairs: readonly { input: string; output: string; rouge1Recall: number; rougeL: number }[]
  ngrams: readonly { text: string; distinct2: number; repetition4: number | null }[]
}
const near = (a: number | undefined, b: number): boolean => Math.abs((a ?? Number.NaN) - b) < 1e-12

test('word overlap and ROUGE-L are those of rouge-score', () => {
  for (const { input, output, rouge1Recall, rougeL: expected } of pairs) {
    assert.ok(near(wordOverlap(input, output), rouge1Recall), `${wordOverlap(input, output)} of "${input}"`)
    assert.ok(near(rougeL(input, output), expected), `${rougeL(input, output)} of "${input}"`)
  }
})

test("distinct-2 and seq-rep-4 count nltk's n-grams", () => {
  for (const { text, distinct2, repetition4 } of ngrams) {
    assert.ok(near(distinct(text, 2), distinct2))
    if (repetition4 === null) assert.equal(sequenceRepetition(text, 4), undefined)
    else assert.ok(near(sequenceRepetition(text, 4), repetition4))
  }
})
