/** Metrics of texts against published implementations: make_rouge.py and make_metrics.py say what rouge.json and metrics.json hold. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { ratio } from '../../trainer-image/evaluate/bootstrap.ts'
import { rougeL, wordOverlap } from '../../trainer-image/evaluate/content.ts'
import { copyDistance, editDistance } from '../../trainer-image/evaluate/copying.ts'
import { pairedImprovement } from '../../trainer-image/evaluate/loss.ts'
import { SharedRuns } from '../../trainer-image/evaluate/memorisation.ts'
import { proportion } from '../../trainer-image/evaluate/proportion.ts'
import { distinct, sequenceRepetition } from '../../trainer-image/evaluate/repetition.ts'
import { markersOf, syllablesOf } from '../../trainer-image/evaluate/style.ts'
import { sentencesOf, wordsOf } from '../../trainer-image/evaluate/words.ts'

const golden = (name: string): unknown => JSON.parse(readFileSync(new URL(`golden/${name}`, import.meta.url), 'utf8'))

const { pairs, ngrams } = golden('rouge.json') as {
  pairs: readonly { input: string; output: string; rouge1Recall: number; rougeL: number }[]
  ngrams: readonly { text: string; distinct2: number; repetition4: number | null }[]
}
const { edits, runs, grades, wilson, bootstrap } = golden('metrics.json') as {
  edits: readonly { a: string; b: string; distance: number }[]
  runs: readonly { a: number[]; b: number[]; longest: number }[]
  grades: readonly { text: string; grade: number; syllables: number; sentences: number }[]
  wilson: readonly { yes: number; of: number; low: number; high: number }[]
  bootstrap: { tokens: number[]; before: number[]; after: number[]; value: number; low: number; high: number }
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

test("the distance that tells a copy is RapidFuzz's, also within its band", () => {
  for (const { a, b, distance } of edits) {
    assert.ok(near(editDistance(a, b), distance), `${editDistance(a, b)}, RapidFuzz ${distance}`)
    if (distance < copyDistance) assert.ok(near(editDistance(a, b, copyDistance), distance))
  }
})

test("the longest shared run is difflib's longest match", () => {
  for (const { a, b, longest } of runs) {
    const shared = new SharedRuns([Int32Array.from(a)])
    shared.pass(Int32Array.from(b))
    assert.deepEqual(shared.longest, [longest])
  }
})

test("reading grades are textstat's but for how the two count syllables and fragments", () => {
  const found = grades.map(({ text, grade, sentences }) => ({
    difference: markersOf(text)['readingGrade']! - grade,
    sameSentences: sentencesOf(text).length === sentences,
  }))
  const syllables = grades.map(({ text }) => wordsOf(text).reduce((sum, word) => sum + syllablesOf(word), 0))
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  const counted = sum(syllables) / sum(grades.map((each) => each.syllables))
  assert.ok(Math.abs(counted - 1) < 0.05, `${counted} of textstat's syllables`)
  const alike = found.filter(({ sameSentences }) => sameSentences).map(({ difference }) => Math.abs(difference))
  assert.ok(alike.length > 20, `${alike.length}`)
  assert.ok(Math.max(...alike) < 2 && sum(alike) / alike.length < 1, `${alike}`)
})

test("the interval of a share is SciPy's by Wilson", () => {
  for (const { yes, of, low, high } of wilson) {
    const { interval } = proportion(Array.from({ length: of }, (_, i) => i < yes))!
    assert.ok(Math.abs(interval!.low - low) < 1e-6 && Math.abs(interval!.high - high) < 1e-6, `${yes} of ${of}`)
  }
})

test("the paired interval of an improvement is SciPy's percentile bootstrap of 200,000 draws", () => {
  const { tokens, before, after, value, low, high } = bootstrap
  const losses = (nll: readonly number[]) => nll.map((each, i) => ({ id: `${i}`, nll: each, labelTokens: tokens[i]! }))
  const found = pairedImprovement(losses(before), losses(after), 42)!
  assert.ok(near(found.value, value))
  // 1000 draws place each end with a standard deviation of about 3 % of the interval.
  const off = [found.interval!.low - low, found.interval!.high - high].map((each) => Math.abs(each) / (high - low))
  assert.ok(Math.max(...off) < 0.1, `${off}`)
  const unpaired = [before, after].map(
    (nll) =>
      ratio(
        nll.map((each, i) => ({ value: each, weight: tokens[i]! })),
        42,
      )!,
  )
  const width = Math.hypot(...unpaired.map(({ interval }) => interval!.high - interval!.low))
  assert.ok(width > 2 * (high - low), 'losses that are not paired tell less')
})
