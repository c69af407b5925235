import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Adapter } from './adapter.ts'
import { keptOf, runsOf } from './kept.ts'
import { digestOf, release } from './objects.ts'
import { World } from './world.ts'

const adapter = (run: string, letter: string, uid = `${run}-uid`): Adapter => ({
  name: `${run}/checkpoint-${letter}`,
  run,
  digest: digestOf(letter),
  generation: 1,
  path: `runs/team/${run}/${uid}/checkpoint-${letter}`,
})
const a = adapter('prose', 'a')
const other = adapter('essays', 'b')

const cases = [
  { what: 'what serves', status: { active: a, history: [a] }, says: 'prose/checkpoint-a (active)' },
  { what: 'what is to serve', status: { candidate: a }, says: 'prose/checkpoint-a (candidate)' },
  {
    what: 'what served before',
    status: { active: other, previous: a, history: [other, a] },
    says: 'prose/checkpoint-a (previous)',
  },
  {
    what: 'what it can go back to',
    status: { active: other, previous: other, history: [other, a] },
    says: 'prose/checkpoint-a (history)',
  },
]
for (const { what, status, says } of cases)
  test(`of a deleted run a release keeps ${what}, and says so under its own name`, () => {
    const live = new Map([['essays', 'essays-uid']])
    assert.equal(keptOf(release({}, status), live), `run prose is deleted; release writer keeps on the claim ${says}`)
    assert.equal(keptOf(release({}, status), new Map([...live, ['prose', 'prose-uid']])), undefined)
  })

test('a run that was made again under the name is not the one that is kept', () => {
  assert.match(keptOf(release({}, { active: a }), new Map([['prose', 'another-uid']])) ?? '', /^run prose is deleted/)
})

test('many are counted, and the base is of no run', () => {
  const history = [...'cdefgh'].map((letter) => adapter(letter === 'h' ? 'essays' : 'prose', letter))
  const of = release({}, { active: { name: 'm', digest: '', generation: 1 }, history })
  assert.deepEqual(runsOf(of), ['prose', 'essays'])
  assert.match(
    keptOf(of, new Map()) ?? '',
    /^runs prose, essays are deleted; release writer keeps on the claim .*checkpoint-f \(history\) and 2 more$/,
  )
})

test('it stands in the message of Ready, whatever the release waits for, and goes when the run is back', async () => {
  const seen = new World()
  await seen.settle()
  const message = () => seen.object.status?.conditions?.find(({ type }) => type === 'Ready')?.message ?? ''
  const runs = seen.runs
  assert.doesNotMatch(message(), /deleted/)
  seen.runs = []
  seen.edit({ source: { run: { name: 'other', checkpoint: 'Best' } } })
  await seen.settle()
  assert.equal(seen.ready(), 'False/RunNotFound')
  assert.match(message(), /; run prose is deleted; release writer keeps on the claim prose\/checkpoint-24 \(active\)$/)
  seen.runs = runs
  await seen.settle()
  assert.doesNotMatch(message(), /deleted/)
})
