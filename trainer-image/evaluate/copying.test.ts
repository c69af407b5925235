import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { copyDistance, editDistance, isCopy } from './copying.ts'

test('the distances of the textbook', () => {
  assert.equal(editDistance('kitten', 'sitting'), 3 / 7)
  assert.equal(editDistance('', 'abc'), 1)
  assert.equal(editDistance('', ''), 0)
  assert.equal(editDistance('same', 'same'), 0)
})

test('within the limit the banded distance is the whole one, and beyond it is 1', () => {
  const random = randomOf(7, 'edits')
  const letters = (count: number): string =>
    Array.from({ length: count }, () => 'abcdefgh'[Math.floor(random() * 8)]).join('')
  let near = 0
  for (let round = 0; round < 60; round++) {
    const text = letters(120)
    const edited = [...text]
      .flatMap((letter) => (random() < 0.04 ? (random() < 0.5 ? [] : [letter, 'x']) : [letter]))
      .join('')
    const whole = editDistance(text, edited)
    const longer = Math.max(text.length, edited.length)
    const within = whole * longer <= Math.floor(copyDistance * longer)
    near += Number(within)
    assert.equal(editDistance(text, edited, copyDistance), within ? whole : 1)
  }
  assert.ok(near > 10 && near < 50, `${near} of 60 within the limit`)
})

test('one word of thirty changed is still a copy, a rewritten sentence is none', () => {
  const input =
    'The boat went out before sunrise and came back at noon with nothing but a torn net and two wet, silent men who went straight home to bed.'
  assert.equal(isCopy(input, ` ${input.replace('torn', 'worn')}\n`), true)
  assert.equal(
    isCopy(input, 'Before sunrise the boat left; by noon it was back, its net torn, its two men silent and wet.'),
    false,
  )
})
