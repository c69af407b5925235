import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lengthRatio, namesKept, namesOf, numbersKept, rougeL, wordOverlap } from './content.ts'

test('ROUGE-L of Lin 2004: "police killed the gunman" against "police kill the gunman"', () => {
  assert.equal(rougeL('police killed the gunman', 'police kill the gunman'), 0.75)
  assert.equal(rougeL('police killed the gunman', 'the gunman kill police'), 0.5)
  assert.equal(rougeL('a', ''), 0)
})

test('a copy keeps everything, an empty output nothing', () => {
  const text = 'In 1914 about 3,500 men left Whitby with Captain Marsh.'
  assert.deepEqual([wordOverlap(text, text), numbersKept(text, text), namesKept(text, text)], [1, 1, 1])
  assert.deepEqual([wordOverlap(text, ''), numbersKept(text, ''), namesKept(text, '')], [0, 0, 0])
  assert.deepEqual([lengthRatio(text, `${text} ${text}`), lengthRatio('', 'a')], [2, undefined])
})

test('a word counts as often as it stands in the input', () => {
  assert.equal(wordOverlap('the cat and the dog', 'The cat!'), 2 / 5)
})

test('numbers are kept digit for digit', () => {
  assert.equal(numbersKept('from 12 to 3.5 in 1999', 'from 12 to 35 in 99'), 1 / 3)
  assert.equal(numbersKept('no number', '1'), undefined)
})

test('names are capital words within sentences, and a possessive still names', () => {
  assert.deepEqual(namesOf("Yesterday Anna and I'm sure Peter met. Then I saw Rome."), ['Anna', 'Peter', 'Rome'])
  assert.equal(namesKept('Yesterday Anna met Peter.', "Peter's friend came."), 0)
  assert.equal(namesKept('Yesterday Anna met Peter.', 'Peter came. Anna left.'), 1)
})
