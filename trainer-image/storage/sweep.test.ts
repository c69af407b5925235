import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { pino } from 'pino'
import { lockName } from './lock.ts'
import { claimFolder, type OwnerRecord, ownersOf } from './owners.ts'
import { SharedContent, sharedDownloads } from './shared-content.ts'
import { type SweepRequest, sweep, sweepFor } from './sweep.ts'

const day = 24 * 3_600_000
const hex = (letter: string): string => letter.repeat(64)
const made = (minutes: number): string => new Date(Date.UTC(2026, 0, 1, 12, minutes)).toISOString()

let data: string
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'humanizer-sweep-'))
})
afterEach(() => rm(data, { recursive: true, force: true }))

const gone = (fields: Partial<OwnerRecord> = {}): OwnerRecord => ({
  version: 1,
  kind: 'HumanizerDataset',
  namespace: 'team',
  name: 'prose',
  uid: 'gone',
  reclaimPolicy: 'Delete',
  createdTime: made(0),
  ...fields,
})

/** A Job of an object that was made at 12:10, when `uids` and `digests` lived. */
const job = (uids: string[] = [], digests: string[] = []): SweepRequest => ({
  owner: { namespace: 'team', name: 'next', uid: 'next' },
  reclaim: {
    kind: 'QLoRARun',
    policy: 'Retain',
    createdTime: made(10),
    sweep: { liveUids: uids, liveDigests: digests },
  },
})

/** A sealed folder with these owners. */
async function folder(path: string, ...owners: OwnerRecord[]): Promise<string> {
  const at = join(data, path)
  await mkdir(at, { recursive: true })
  await writeFile(join(at, 'manifest.json'), '{}')
  await writeFile(join(at, 'train.parquet'), 'rows')
  for (const owner of owners) assert.ok(await claimFolder(at, owner))
  return at
}
const remain = async (parent: string): Promise<string[]> => (await readdir(join(data, parent))).sort()
const age = async (path: string, milliseconds: number): Promise<void> => {
  const then = new Date(Date.now() - milliseconds)
  for (const name of await readdir(path).catch(() => [])) await utimes(join(path, name), then, then)
  await utimes(path, then, then)
}

const places = [
  { of: 'a dataset', parent: 'datasets', name: hex('d') },
  { of: 'an adapter', parent: 'adapters', name: hex('a') },
  { of: 'a run', parent: 'runs/team/prose', name: 'gone' },
]
for (const { of, parent, name } of places)
  test(`the folder of ${of} goes when its owner is gone and said Delete`, async () => {
    await folder(join(parent, name), gone())
    const { removed } = await sweep(data, job(['other']), Date.now())
    assert.deepEqual([removed, await remain(parent)], [[join(parent, name)], []])
  })

const survivors: { a_folder: string; owners: OwnerRecord[]; job?: SweepRequest }[] = [
  { a_folder: 'that names nobody', owners: [] },
  { a_folder: 'whose owner said Retain', owners: [gone({ reclaimPolicy: 'Retain' })] },
  { a_folder: 'whose owner lives', owners: [gone()], job: job(['gone']) },
  { a_folder: "of the Job's own object", owners: [gone({ uid: 'next' })] },
  { a_folder: 'that something living refers to', owners: [gone()], job: job([], [`sha256:${hex('d')}`]) },
  { a_folder: 'that a second owner wants kept', owners: [gone(), gone({ uid: 'b', reclaimPolicy: 'Retain' })] },
  { a_folder: 'that a second, living owner has too', owners: [gone(), gone({ uid: 'b' })], job: job(['b']) },
  { a_folder: 'of another namespace', owners: [gone({ namespace: 'others' })] },
  { a_folder: 'of an object made after the list', owners: [gone({ createdTime: made(11) })] },
  {
    a_folder: 'of an object made within the margin of two clocks',
    owners: [gone({ createdTime: new Date(Date.parse(made(10)) - 20_000).toISOString() })],
  },
  {
    a_folder: 'when the operator could not list what lives',
    owners: [gone()],
    job: { ...job(), reclaim: { ...job().reclaim!, sweep: undefined } },
  },
  {
    a_folder: 'when it is not known how old the list is',
    owners: [gone()],
    job: { ...job(), reclaim: { ...job().reclaim!, createdTime: '' } },
  },
  { a_folder: 'when the Job works for nobody', owners: [gone()], job: { ...job(), owner: undefined } },
  { a_folder: 'when an older operator made the Job', owners: [gone()], job: { ...job(), reclaim: undefined } },
]
for (const { a_folder, owners, job: request = job() } of survivors)
  test(`a folder ${a_folder} stays, whole`, async () => {
    const at = await folder(`datasets/${hex('d')}`, ...owners)
    const { removed } = await sweep(data, request, Date.now())
    assert.deepEqual(removed, [])
    assert.equal(await readFile(join(at, 'train.parquet'), 'utf8'), 'rows')
    assert.deepEqual((await ownersOf(at))?.map(({ uid }) => uid).sort(), owners.map(({ uid }) => uid).sort())
  })

const corrupt: { a_record: string; text: string }[] = [
  { a_record: 'torn', text: '{"version":1,"uid":"go' },
  { a_record: 'empty', text: '' },
  { a_record: 'of a later version', text: JSON.stringify({ ...gone(), version: 2 }) },
  { a_record: 'of somebody else', text: JSON.stringify(gone({ uid: 'other' })) },
  { a_record: 'with another policy', text: JSON.stringify({ ...gone(), reclaimPolicy: 'Recycle' }) },
  { a_record: 'without a time', text: JSON.stringify(gone({ createdTime: '' })) },
]
for (const { a_record, text } of corrupt)
  test(`a folder with a record that is ${a_record} stays until its owner claims it again`, async () => {
    const at = await folder(`datasets/${hex('d')}`, gone())
    await writeFile(join(at, 'owners', 'gone.json'), text)
    assert.deepEqual((await sweep(data, job(), Date.now())).removed, [])
    await claimFolder(at, gone())
    assert.deepEqual((await sweep(data, job(), Date.now())).removed, [`datasets/${hex('d')}`])
  })

test('a run whose writer still beats its lock stays until the writer has left', async () => {
  const at = await folder('runs/team/prose/gone', gone())
  await writeFile(join(at, lockName), '{}')
  assert.deepEqual((await sweep(data, job(), Date.now())).removed, [])
  assert.deepEqual((await sweep(data, job(), Date.now() + 700_000)).removed, ['runs/team/prose/gone'])
})

test('runs of another namespace on the same volume are not looked at', async () => {
  await folder('runs/others/prose/gone', gone())
  assert.deepEqual((await sweep(data, job(), Date.now())).removed, [])
  assert.deepEqual(await remain('runs/others/prose'), ['gone'])
})

test('a claim never makes a folder that is not there', async () => {
  await mkdir(join(data, 'datasets'))
  assert.equal(await claimFolder(join(data, 'datasets', hex('d')), gone()), false)
  assert.deepEqual(await remain('datasets'), [])
})

const aside = `.swept-${hex('d')}.0b8a7c1e-6a53-4c39-9f0e-0123456789ab`
const interrupted: { what: string; owners: OwnerRecord[]; there: boolean; after: string[] }[] = [
  { what: 'is finished', owners: [gone()], there: false, after: [] },
  {
    what: 'is undone when an owner came meanwhile',
    owners: [gone(), gone({ uid: 'new' })],
    there: false,
    after: [hex('d')],
  },
  {
    what: 'leaves alone what was made again meanwhile',
    owners: [gone(), gone({ uid: 'new' })],
    there: true,
    after: [aside, hex('d')],
  },
]
for (const { what, owners, there, after } of interrupted)
  test(`a sweep that was killed ${what}, an hour later`, async () => {
    const at = await folder(`datasets/${hex('d')}`, ...owners)
    await rename(at, join(dirname(at), aside))
    if (there) await folder(`datasets/${hex('d')}`, gone({ uid: 'new' }))
    const before = await remain('datasets')
    await sweep(data, job(['new']), Date.now())
    assert.deepEqual(await remain('datasets'), before, 'another sweep may be at it')
    await sweep(data, job(['new']), Date.now() + 2 * 3_600_000)
    assert.deepEqual(await remain('datasets'), after)
  })

test('sweeps and claims at once never lose a dataset that its new owner found', async () => {
  for (let round = 0; round < 25; round++) {
    const at = await folder(`datasets/${hex('d')}`, gone())
    const [claimed] = await Promise.all([
      claimFolder(at, gone({ uid: 'new', createdTime: made(20) })),
      sweep(data, job(), Date.now()),
      sweep(data, job(), Date.now()),
    ])
    assert.deepEqual(await remain('datasets'), claimed ? [hex('d')] : [])
    await rm(join(data, 'datasets'), { recursive: true })
  }
})

test('half-written folders go when nobody touched them for a day; finished, newer and user-made ones stay', async () => {
  const old = ['datasets/.x.tmp', `datasets/${hex('e')}`, 'adapters/.y.tmp', `adapters/${hex('f')}`, 'models/.fetch-m']
  const kept = ['models/of-the-user', 'datasets/.work', 'datasets/by-spec']
  for (const path of [...old, ...kept]) {
    await mkdir(join(data, path), { recursive: true })
    await writeFile(join(data, path, 'part'), 'x')
  }
  for (const path of [...old, ...kept]) await age(join(data, path), 2 * day)
  await age(await folder(`datasets/${hex('d')}`, gone({ reclaimPolicy: 'Retain' })), 2 * day)
  await mkdir(join(data, 'datasets/.new.tmp'))
  const { leftovers } = await sweep(data, { owner: undefined, reclaim: undefined }, Date.now())
  assert.deepEqual([...leftovers].sort(), [...old].sort())
  assert.deepEqual(await remain('datasets'), ['.new.tmp', '.work', 'by-spec', hex('d')])
  assert.deepEqual(await remain('models'), ['of-the-user'])
})

test('what datasets share goes a day after it was last used, however old it is', async () => {
  const shared = new SharedContent(join(data, sharedDownloads))
  const [file, sums] = [join(data, 'file'), ['sha256-old', 'sha256-used', 'sha256-new']]
  await writeFile(file, 'x')
  for (const sum of sums) await shared.give(sum, file)
  for (const sum of sums.slice(0, 2)) await age(join(data, sharedDownloads, sum), 2 * day)
  assert.equal(await shared.take('sha256-used', join(data, 'taken')), true)
  const { leftovers } = await sweep(data, { owner: undefined, reclaim: undefined }, Date.now())
  assert.deepEqual(leftovers, [join(sharedDownloads, 'sha256-old')])
  assert.deepEqual(await remain(sharedDownloads), ['sha256-new', 'sha256-used'])
  assert.equal(await readFile(join(data, 'taken'), 'utf8'), 'x')
})

test('an empty claim, and one without any of the folders, are swept of nothing', async () => {
  assert.deepEqual(await sweep(data, job(), Date.now()), { removed: [], leftovers: [] })
})

test('a sweep that fails is told and never fails the Job', async () => {
  await writeFile(join(data, 'datasets'), 'not a folder')
  await assert.rejects(sweep(data, job(), Date.now()), { code: 'ENOTDIR' })
  const lines: { level: number; msg: string }[] = []
  const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line)) })
  await sweepFor(job(), { dataDir: data, signal: new AbortController().signal, log })
  assert.deepEqual(
    lines.map(({ level, msg }) => [level, msg]),
    [[40, 'cannot sweep; the files stay']],
  )
})
