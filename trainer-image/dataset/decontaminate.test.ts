import assert from 'node:assert/strict'
import { test } from 'node:test'
import { machineText, prose } from '../../test/fixtures/sources.ts'
import { EvaluationTexts } from './decontaminate.ts'
import { randomOf } from './random.ts'

const numbered = (from: number, count: number): string =>
  Array.from({ length: count }, (_, i) => `word${from + i}`).join(' ')
const evaluation = (texts: readonly string[], ngramWords = 13, nearThreshold = 0.85): EvaluationTexts => {
  const all = new EvaluationTexts(ngramWords, nearThreshold)
  texts.forEach((text, i) => {
    all.add(`e-${i}`, text)
  })
  return all
}

const thirteen = numbered(20, 13)
const cases = [
  { text: 'that shares thirteen words', given: `before ${thirteen} after`, found: 'run' },
  { text: 'that shares twelve', given: `before ${numbered(20, 12)} after`, found: undefined },
  {
    text: 'that shares them in other cases and with other punctuation',
    given: `Before: “${thirteen.toUpperCase().replaceAll(' ', ', ')}”!`,
    found: 'run',
  },
  { text: 'that shares twice twelve', given: `${numbered(10, 12)} x ${numbered(30, 12)}`, found: undefined },
  { text: 'that begins where the other ends', given: `${numbered(47, 13)} y`, found: 'run' },
  { text: 'of another order', given: thirteen.split(' ').toReversed().join(' '), found: undefined },
  { text: 'without words', given: '— …', found: undefined },
  {
    text: 'that holds a whole short evaluation text',
    given: 'so The quick brown fox, jumps over a dog. it was',
    found: 'run',
  },
  { text: 'that holds half of it', given: 'the quick brown fox jumps over the hedge', found: undefined },
  { text: 'that holds one too short to be looked for', given: 'it was a nice day of days', found: undefined },
] as const
for (const { text, given, found } of cases)
  test(`a text ${text}: ${found ?? 'is clean'}`, () => {
    const all = evaluation([numbered(0, 60), 'The quick brown fox jumps over a dog', 'It was a nice day'])
    assert.equal(all.tooShort, 1)
    assert.equal(all.overlap(given)?.kind, found)
  })

test('the evaluation text and the words that both have are named', () => {
  const { id, run } = evaluation([prose[5] ?? '', numbered(0, 60)]).overlap(`x ${numbered(7, 20)}`) ?? {}
  assert.deepEqual([id, run], ['e-1', numbered(7, 13)])
})

test('a near duplicate is found where no run is long enough', () => {
  const changed = numbered(0, 400).replace('word33 ', 'other ').replace('word333 ', 'other ')
  assert.equal(evaluation([numbered(0, 400)], 350).overlap(changed)?.kind, 'nearDuplicate')
  assert.equal(evaluation([numbered(0, 400)], 350, 0).overlap(changed), undefined)
  assert.equal(evaluation([numbered(0, 400)], 350).overlap(numbered(0, 300)), undefined)
})

test('runs are found exactly as a search through all of them finds them', () => {
  const random = randomOf(3, 'runs')
  const of = (length: number): string => Array.from({ length }, () => 'abc'[Math.floor(random() * 3)]).join(' ')
  const texts = Array.from({ length: 40 }, () => of(8 + Math.floor(random() * 30)))
  const all = evaluation(texts, 10, 0)
  const lengths = texts.map((text) => Math.min(10, text.split(' ').length))
  let found = 0
  for (let round = 0; round < 400; round++) {
    const text = of(5 + Math.floor(random() * 40))
    const words = text.split(' ')
    const shares = texts.some((other, i) =>
      words.some((_, at) => {
        const run = words.slice(at, at + (lengths[i] ?? 0))
        return run.length === lengths[i] && ` ${other} `.includes(` ${run.join(' ')} `)
      }),
    )
    assert.equal(all.overlap(text) !== undefined, shares, text)
    found += Number(shares)
  }
  assert.ok(found > 20 && found < 380, `${found}`)
})

test('prose of other authors shares nothing, prose with a planted paragraph does', () => {
  const all = evaluation(prose.slice(0, 100))
  const planted = prose.slice(0, 100).map((text, i) => `${prose[200 + i]} ${text.split(' ').slice(0, 25).join(' ')}.`)
  for (const text of prose.slice(200, 300)) assert.equal(all.overlap(text), undefined)
  for (const text of planted) assert.equal(all.overlap(text)?.kind, 'run')
  assert.equal(all.overlap(machineText(1, 12)), undefined)
})
