import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Release } from './adapter.ts'
import { digestOf, release, run } from './objects.ts'
import { expanded } from './stored.ts'
import { World } from './world.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]
const of = (checkpoint: string, name = 'prose') => ({ source: { run: { name, checkpoint } } })

async function goesTo(world: World, spec: Partial<Release['spec']>, digest: string): Promise<void> {
  world.edit(spec)
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.digest, digest)
  assert.equal(world.pods[0]?.state.digest, digest)
}

/** Has served Best (b) and checkpoint-12 (a); the run is gone. */
async function afterTheRun(): Promise<World> {
  const world = new World()
  await world.settle()
  await goesTo(world, of('checkpoint-12'), a)
  world.runs = []
  return world
}

test('a word of a run that was deleted means what it meant when it was resolved', async () => {
  const world = await afterTheRun()
  await goesTo(world, of('Best'), b)
  await goesTo(world, of('checkpoint-12'), a)
  await goesTo(world, of('Best'), b)
})

test('a checkpoint of a deleted run that has served under another word is found by its name', async () => {
  const world = await afterTheRun()
  await goesTo(world, of('checkpoint-24'), b)
  world.runs = [run({ uid: 'again', checkpoints: [{ step: 24, letter: 'c', best: true }] })]
  await world.settle()
  assert.equal(world.object.status?.active?.digest, b, 'it stays when a run of that name is made again')
})

test('a word of a deleted run that never served is waited for', async () => {
  const world = await afterTheRun()
  world.edit(of('Latest'))
  await world.settle()
  assert.equal(world.ready(), 'False/RunNotFound')
  assert.equal(world.object.status?.active?.digest, a)
})

test('every word of every run has one pin, and only of what has served', async () => {
  const world = await afterTheRun()
  world.runs = [run(), run({ name: 'verse', checkpoints: [{ step: 9, letter: 'c', best: true }] })]
  await goesTo(world, of('Best', 'verse'), c)
  for (const word of ['Best', 'Latest', 'checkpoint-24', 'Best']) await goesTo(world, of(word), b)
  const pins = (world.object.status?.pins ?? []).map((pin) => `${pin.run} ${pin.checkpoint}`)
  assert.deepEqual(pins.sort(), ['prose Latest', 'prose checkpoint-12', 'prose checkpoint-24', 'verse Best'])
})

test('a pin is written again when only the run or the word is another', async () => {
  const world = new World()
  await world.settle()
  await goesTo(world, of('checkpoint-24'), b)
  assert.equal(world.object.status?.resolved?.checkpoint, 'checkpoint-24')
  world.runs.push(run({ name: 'copy', uid: 'copy-uid' }))
  await goesTo(world, of('Best', 'copy'), b)
  assert.equal(world.object.status?.resolved?.run, 'copy')
  assert.equal(world.object.status?.resolved?.runUID, 'copy-uid')
})

const other = (claimName = 'humanizer'): Release => {
  const history = [{ name: 'old/checkpoint-3', digest: c, generation: 4 }]
  const object = release({ storage: { claimName, reclaimPolicy: 'Retain' } }, { history })
  return { ...object, metadata: { ...object.metadata, name: 'reader', uid: 'reader-uid' } }
}

test('a digest that another release served is served here, without any run', async () => {
  const world = new World(release({ source: { digest: c } }))
  world.runs = []
  world.releases = [other()]
  await world.settle()
  assert.equal(world.ready(), 'True/Serving')
  assert.equal(world.object.status?.active?.name, 'old/checkpoint-3')
})

const mismatches = {
  'a run': { spec: of('Best'), claimName: 'archive', whose: 'run prose is humanizer' },
  'the run of a digest': { spec: { source: { digest: b } }, claimName: 'archive', whose: 'run prose is humanizer' },
  'the release of a digest': {
    spec: { source: { digest: c } },
    claimName: 'humanizer',
    whose: 'release reader is away',
  },
}
for (const [what, { spec, claimName, whose }] of Object.entries(mismatches))
  test(`${what} on another claim stalls the release and starts nothing`, async () => {
    const world = new World(release({ ...spec, storage: { claimName, reclaimPolicy: 'Retain' } }))
    world.releases = [other('away')]
    world.claim = { name: claimName, accessModes: ['ReadWriteMany'] }
    await world.settle()
    assert.equal(world.ready(), 'False/StorageMismatch')
    assert.equal(world.children.size, 0)
    const { message } = world.object.status?.conditions?.find(({ type }) => type === 'Stalled') ?? {}
    assert.match(message ?? '', new RegExp(`spec.storage.claimName is ${claimName}.*${whose}; expected the same`))
  })

test('a digest is served from the run on the right claim when there are several', async () => {
  const world = new World(release({ source: { digest: b } }))
  const away = run({ name: 'away' })
  away.spec.storage.claimName = 'archive'
  world.runs = [away, run()]
  await world.settle()
  assert.equal(world.object.status?.active?.name, 'prose/checkpoint-24')
})

test('a rollback writes the pin and the candidate in one step', async () => {
  const world = new World()
  await world.settle()
  world.effects = 0
  await goesTo(world, of('checkpoint-12'), a)
  const { status } = expanded(world.object)
  assert.equal(status?.resolved?.adapter.format?.userTemplate, '{text}')
  assert.ok(world.effects <= 6, `${world.effects} effects: candidate, desired.json, activate, active, and two rests`)
})
