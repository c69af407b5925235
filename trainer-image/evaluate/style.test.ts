import assert from 'node:assert/strict'
import { test } from 'node:test'
import { markersOf, styleDistance, syllablesOf } from './style.ts'

test('syllables of common words', () => {
  const words = {
    cat: 1,
    table: 2,
    reading: 2,
    made: 1,
    wanted: 2,
    jumped: 1,
    houses: 2,
    beautiful: 3,
    the: 1,
    rhythm: 1,
  }
  assert.deepEqual(Object.fromEntries(Object.keys(words).map((word) => [word, syllablesOf(word)])), words)
})

test('the marks of a text counted by hand', () => {
  const marks = markersOf("It's late, and we're cold. The cat sat.")
  // words: it s late and we re cold | the cat sat
  assert.equal(marks['sentenceLength'], 5)
  assert.equal(marks['sentenceLengthDeviation'], Math.sqrt(8))
  assert.equal(marks['contractions'], 20)
  assert.equal(marks['commas'], 10)
  assert.ok(Math.abs(marks['readingGrade']! - (0.39 * 5 + 11.8 * 1 - 15.59)) < 1e-12)
})

test('human texts are no distance from themselves, and one mark moved by its deviation counts by its share', () => {
  const human = [1, 2, 3].map((commas) => ({ commas, wordLength: 4 + commas / 10 }))
  assert.equal(styleDistance(human, human), 0)
  const moved = human.map((marks) => ({ ...marks, commas: marks.commas + 1 }))
  assert.equal(styleDistance(moved, human), 0.5)
  assert.equal(styleDistance(human, [human[0]!]), undefined)
})
