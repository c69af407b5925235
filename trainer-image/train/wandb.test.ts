import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import type { Tracking } from '#proto/humanizer/trainer/v1/run.ts'
import { type Mood, WandbServer } from '../../test/fixtures/wandb-server.ts'
import { openTracker, type Pace, type TrackedResult, type Tracker } from './wandb.ts'
import { sendPending } from './wandb-later.ts'
import { trackingFolder } from './wandb-pending.ts'

const key = 'f'.repeat(40)
let folder: string
let server: WandbServer
let baseUrl: string
let said: Tracking[]
let logged: string
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'wandb-'))
  server = new WandbServer(key)
  baseUrl = await server.listen()
  said = []
  logged = ''
  writeFileSync(join(folder, 'key'), `${key}\n`)
  writeFileSync(join(folder, 'report.html'), '<h1>Run</h1>')
})
afterEach(() => {
  server.close()
  rmSync(folder, { recursive: true })
})

const quick: Pace = {
  everyMilliseconds: 10,
  longestWaitMilliseconds: 60,
  requestMilliseconds: 20_000,
  finishMilliseconds: 20_000,
  failuresTold: 2,
}
const open = (settings: object = {}, pace: Partial<Pace> = {}): Promise<Tracker> =>
  openTracker({
    settings: {
      baseUrl,
      entity: '',
      project: 'prose',
      mode: 'Online',
      keyFile: join(folder, 'key'),
      samples: true,
      ...settings,
    },
    run: {
      name: 'run-uid',
      displayName: 'team/prose',
      groupName: 'team',
      jobType: 'train',
      notes: '',
      config: JSON.stringify({ lora: { value: { rank: 8 } } }),
    },
    directory: join(folder, trackingFolder),
    log: pino({ level: 'trace' }, { write: (line: string) => (logged += line) }),
    report: (tracking) => said.push(tracking),
    pace: { ...quick, ...pace },
  })
const result: TrackedResult = {
  summary: { 'best/loss': 1.8, diagnosis: 'Healthy' },
  table: { columns: ['input', 'best'], data: [['a "b"', null]] },
  get files() {
    return { 'report.html': join(folder, 'report.html'), 'samples.jsonl': join(folder, 'missing') }
  },
}

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    if (waited > 5000) assert.fail(`${what}; said ${JSON.stringify(said)}`)
    await sleep(5)
  }
}
const rowsOf = (): Record<string, number>[] => server.runs.get('run-uid')!.history.map((line) => JSON.parse(line))
const stepsOf = (): unknown[] => rowsOf().map((row) => row['_step'])

test('a run with its configuration, rows, summary, table and files reaches the server, and its page is told', async () => {
  const tracker = await open()
  await tracker.write(1, { 'train/loss': 2, 'train/grad_norm': Number.NaN })
  await tracker.write(2, { 'train/loss': 1.9 })
  await tracker.write(2, { 'eval/loss': 1.8, 'eval/human_loss': undefined })
  await until(() => said.length > 0, 'nothing told')
  await tracker.finish(result)
  const run = server.runs.get('run-uid')!
  assert.deepEqual([run.displayName, run.config, run.exitcode], ['team/prose', { lora: { value: { rank: 8 } } }, 0])
  assert.deepEqual(
    rowsOf().map(({ _timestamp, _runtime, ...row }) => row),
    [
      { _step: 1, 'train/loss': 2 },
      { _step: 2, 'train/loss': 1.9, 'eval/loss': 1.8 },
    ],
  )
  const { samples, _timestamp, _runtime, ...summary } = run.summary
  assert.deepEqual(summary, { _step: 2, 'train/loss': 1.9, 'eval/loss': 1.8, 'best/loss': 1.8, diagnosis: 'Healthy' })
  const { path, size, nrows } = samples as { path: string; size: number; nrows: number }
  assert.deepEqual(JSON.parse(run.files.get(path)!.toString()), result.table)
  assert.deepEqual([size, nrows], [run.files.get(path)!.length, 1])
  assert.equal(run.files.get('report.html')?.toString(), '<h1>Run</h1>')
  assert.deepEqual(run.uploaded.toSorted(), [path, 'report.html'].toSorted())
  assert.deepEqual(said, [{ url: `${baseUrl}/default-team/prose/runs/run-uid`, problem: '' }])
})

test('texts stay at home unless they are asked for', async () => {
  const tracker = await open({ samples: false })
  await tracker.write(1, { 'train/loss': 2 })
  await tracker.finish(result)
  const run = server.runs.get('run-uid')!
  assert.deepEqual([run.files.size, run.summary['samples'], run.exitcode], [0, undefined, 0])
})

test('the next attempt goes on where the server stands: what is made anew counts once, a step that lacked a figure gets it', async () => {
  const first = await open()
  for (const step of [1, 2, 3, 4]) await first.write(step, { 'train/loss': step })
  await until(() => server.runs.get('run-uid')?.history.length === 3, 'three rows')
  await first.stop()
  writeFileSync(
    join(folder, trackingFolder, 'history.jsonl'),
    `${readFileSync(join(folder, trackingFolder, 'history.jsonl'))}{"_step":5,"tr`,
  )
  const second = await open()
  for (const step of [3, 4]) await second.write(step, { 'train/loss': 99 })
  await second.write(4, { 'eval/loss': 0.5 })
  await second.write(5, { 'train/loss': 5 })
  await second.finish(result)
  assert.deepEqual(
    rowsOf().map((row) => [row['_step'], row['train/loss'] ?? row['eval/loss']]),
    [
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 4],
      [4, 0.5],
      [5, 5],
    ],
  )
})

const passing: { what: string; mood: Mood }[] = [
  { what: '429 with Retry-After', mood: { status: 429, headers: { 'retry-after': '0.05' } } },
  { what: '502', mood: { status: 502 } },
  { what: 'no answer', mood: 'hang' },
  { what: '500 after the lines were taken', mood: { status: 500, after: true } },
]
for (const { what, mood } of passing)
  test(`${what} passes: the rows wait, it is told, and they come when it is over, each once`, async () => {
    let ill = true
    server.mood = () => (ill ? mood : 'well')
    const tracker = await open({}, { ...(mood === 'hang' && { requestMilliseconds: 300 }) })
    for (const step of [1, 2, 3]) await tracker.write(step, { 'train/loss': step })
    await until(() => said.length > 0, 'not told')
    assert.notEqual(said[0]!.problem, '')
    ill = false
    await until(() => said.at(-1)?.problem === '', 'not told that it is over')
    await tracker.finish(result)
    assert.deepEqual(stepsOf(), [1, 2, 3])
    assert.equal(said.at(-1)?.problem, '')
  })

const lasting: { what: string; status?: number; settings?: object; says: RegExp }[] = [
  { what: '401', status: 401, says: /\/graphql answered 401/ },
  { what: '403', status: 403, says: /answered 403/ },
  { what: '404', status: 404, says: /answered 404/ },
  { what: 'an error of GraphQL', settings: { project: 'forbidden' }, says: /^UpsertBucket: permission denied$/ },
]
for (const { what, status, settings, says } of lasting)
  test(`${what} is told and not asked again`, async () => {
    if (status) server.mood = () => ({ status })
    const tracker = await open(settings)
    await tracker.write(1, { 'train/loss': 1 })
    await until(() => said.length > 0, 'not told')
    await sleep(100)
    await tracker.write(2, { 'train/loss': 1 })
    await tracker.finish(result)
    assert.equal(server.requests.length, 1)
    assert.match(said[0]!.problem, says)
    assert.equal(
      readFileSync(join(folder, trackingFolder, 'history.jsonl'), 'utf8')
        .trim()
        .split('\n').length,
      2,
    )
  })

test('a server that never answers holds a finished run up for no longer than is allowed', async () => {
  server.mood = () => 'hang'
  const tracker = await open({}, { requestMilliseconds: 60_000, finishMilliseconds: 500 })
  await tracker.write(1, { 'train/loss': 1 })
  const began = performance.now()
  await tracker.finish(result)
  assert.ok(performance.now() - began < 5000)
  assert.match(said.at(-1)!.problem, /1 rows and 2 files were not sent$/)
})

test('neither a step, nor a checkpoint, nor a stop waits for an answer', async () => {
  server.mood = () => 'hang'
  const tracker = await open({}, { requestMilliseconds: 60_000 })
  await until(() => server.requests.length > 0, 'asked')
  const began = performance.now()
  for (const step of [1, 2, 3]) await tracker.write(step, { 'train/loss': step })
  await tracker.flush()
  await tracker.stop()
  assert.ok(performance.now() - began < 5000)
})

test('the Secret may come while the run trains', async () => {
  rmSync(join(folder, 'key'))
  const tracker = await open()
  await tracker.write(1, { 'train/loss': 1 })
  await until(() => said.length > 0, 'not told')
  assert.match(said[0]!.problem, /there is no key: the Secret/)
  assert.equal(server.requests.length, 0)
  writeFileSync(join(folder, 'key'), key)
  await tracker.finish(result)
  assert.deepEqual(stepsOf(), [1])
})

const later = () => sendPending(folder, key, quick)

test('what a run could not send is sent when a person asks for it: once and whole', async () => {
  let ill = true
  server.mood = () => (ill ? { status: 503 } : 'well')
  const tracker = await open({}, { finishMilliseconds: 100 })
  for (const step of [1, 2]) await tracker.write(step, { 'train/loss': step })
  await tracker.finish(result)
  assert.match(said.at(-1)!.problem, /2 rows and 2 files were not sent$/)
  await assert.rejects(sendPending(folder, key, { ...quick, finishMilliseconds: 100 }), {
    reason: 'Unavailable',
    message: /2 rows and 2 files were not sent$/,
  })
  ill = false
  assert.equal(await later(), `${baseUrl}/default-team/prose/runs/run-uid`)
  const run = server.runs.get('run-uid')!
  assert.deepEqual([stepsOf(), run.exitcode, run.summary['best/loss'], run.summary['train/loss']], [[1, 2], 0, 1.8, 2])
  assert.equal(run.files.get('report.html')?.toString(), '<h1>Run</h1>')
  await assert.rejects(later(), { reason: 'NotFound', message: /has nothing to send/ })
})

test('offline nothing is sent, and no key is kept; when a person asks for it, all of it is', async () => {
  const offline = await open({ mode: 'Offline' })
  for (const step of [1, 2]) await offline.write(step, { 'train/loss': step })
  await offline.finish(result)
  assert.deepEqual([server.requests.length, said], [0, []])
  const kept = readFileSync(join(folder, trackingFolder, 'pending.json'), 'utf8')
  assert.ok(!kept.includes(key) && !kept.includes(join(folder, 'key')))
  await later()
  assert.deepEqual([stepsOf(), server.runs.get('run-uid')!.exitcode], [[1, 2], 0])
})

test('a spool that cannot be opened is a problem and no tracker', async () => {
  writeFileSync(join(folder, trackingFolder), 'a file')
  const tracker = await open()
  await tracker.write(1, { 'train/loss': 1 })
  await tracker.finish(result)
  assert.match(said[0]!.problem, /^the spool cannot be opened: /)
})

test('the key is in no log and in no message, also when the server repeats it', async () => {
  server.mood = () => ({ status: 401 })
  const tracker = await open()
  await tracker.write(1, { 'train/loss': 1 })
  await until(() => said.length > 0, 'not told')
  await tracker.finish(result)
  const texts = `${logged}${JSON.stringify(said)}`
  for (const secret of [key, Buffer.from(`api:${key}`).toString('base64')]) assert.ok(!texts.includes(secret), texts)
})
