import assert from 'node:assert/strict'
import { test } from 'node:test'
import { difference } from './difference.ts'

const shown = (before: string, after: string): string =>
  difference(before, after)
    .map(({ kind, text }) => (kind === 'same' ? text : kind === 'added' ? `+(${text})` : `-(${text})`))
    .join('')

test('what was lost, what came and what stayed are told in the order of the texts', () => {
  assert.equal(
    shown('boat out sunrise', 'The boat went out before sunrise.'),
    '+(The )boat +(went )out -(sunrise)+(before sunrise.)',
  )
  assert.equal(shown('a b', 'a b'), 'a b')
  assert.equal(shown('', 'new words'), '+(new words)')
  assert.equal(shown('gone', ''), '-(gone)')
})

test('without what was added it is the first text, without what was removed the second', () => {
  const [before, after] = ['one two three two\none', 'two  three one two four']
  const parts = difference(before, after)
  const words = (kind: string): string[] =>
    parts.filter((part) => part.kind !== kind).flatMap(({ text }) => text.match(/\S+/g) ?? [])
  assert.deepEqual([words('added'), words('removed')], [before.split(/\s+/), after.split(/\s+/)])
})
