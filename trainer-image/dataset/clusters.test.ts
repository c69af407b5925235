import assert from 'node:assert/strict'
import { test } from 'node:test'
import { clustersToShow } from './clusters.ts'

const words = (count: number): string => Array.from({ length: count }, (_, i) => `word${i}`).join(' ')

/** One cluster of the texts, of which the first was kept. */
const shownOf = async (...texts: readonly string[]) => {
  const deduplicated = { largest: [{ ordinal: 0, size: texts.length }], leader: new Uint32Array(texts.length) }
  const spool = { pick: async () => new Map(texts.map((text, i) => [i, { id: `s-${i}`, text, input: '' }])) }
  const [cluster] = await clustersToShow(deduplicated, spool)
  return [cluster?.text ?? '', ...(cluster?.near.map(({ text }) => text) ?? [])]
}

test('texts are shown from their beginning', async () => {
  assert.deepEqual(await shownOf('one two', 'one three'), ['one two', 'one three'])
  const [kept] = await shownOf(words(1000), `other ${words(1000)}`)
  assert.match(kept!, /^word0 word1 /)
  assert.deepEqual(await shownOf(words(3)), [words(3)])
  const [first, same] = await shownOf(words(1000), words(1000))
  assert.match(first!, /^word0 /)
  assert.equal(same, first)
})

test('of long texts that part late the place where they part is shown, from a word before it', async () => {
  const [kept, copy] = await shownOf(words(1000), words(1000).replace('word700 ', 'other '))
  assert.match(kept!, /^… word6\d\d .* word699 word700 word701 /)
  assert.match(copy!, /^… word6\d\d .* word699 other word701 /)
  assert.equal(kept!.slice(0, 100), copy!.slice(0, 100))
  const [, cut] = await shownOf(words(1000), words(900))
  assert.match(cut!, /^… word8\d\d .* word899$/)
})
