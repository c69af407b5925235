import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Release, Status } from './adapter.ts'
import { digestOf, release, run } from './objects.ts'
import { resolveSource } from './source.ts'

const [a, b, c] = ['a', 'b', 'c'].map(digestOf) as [string, string, string]
const of = (name: string, checkpoint: string) => ({ run: { name, checkpoint } })
const served: Status = {
  history: [{ name: 'old/checkpoint-3', digest: c, generation: 4, metrics: { baselineLoss: '2.1' } }],
}

const cases: {
  a_source: string
  source: Release['spec']['source']
  runs?: QLoRARun[]
  status?: Status
  want: string
  says?: RegExp
}[] = [
  { a_source: 'Best is the checkpoint with the lowest loss', source: of('prose', 'Best'), want: b },
  {
    a_source: 'Latest is the one with the most steps',
    source: of('prose', 'Latest'),
    runs: [
      run({
        checkpoints: [
          { step: 9, letter: 'a' },
          { step: 100, letter: 'c' },
          { step: 20, letter: 'b', best: true },
        ],
      }),
    ],
    want: c,
  },
  { a_source: 'a name is that checkpoint', source: of('prose', 'checkpoint-12'), want: a },
  {
    a_source: 'a name that the finished run lacks cannot come',
    source: of('prose', 'checkpoint-13'),
    want: 'invalid CheckpointNotFound',
    says: /no checkpoint-13; it has checkpoint-12, checkpoint-24/,
  },
  {
    a_source: 'a run without a best one',
    source: of('prose', 'Best'),
    runs: [run({ checkpoints: [] })],
    want: 'invalid CheckpointNotFound',
    says: /it has none/,
  },
  {
    a_source: 'a run that evaluated nothing has no best one',
    source: of('prose', 'Best'),
    runs: [run({ checkpoints: [{ step: 9, letter: 'a' }] })],
    want: 'invalid CheckpointNotFound',
    says: /no Best; it has checkpoint-9, none of which was evaluated; name one, or Latest$/,
  },
  { a_source: 'a missing run can still come', source: of('verse', 'Best'), want: 'waiting RunNotFound' },
  {
    a_source: 'an unfinished run is waited for',
    source: of('prose', 'checkpoint-12'),
    runs: [run({ ended: 'Unknown' })],
    want: 'waiting RunNotFinished',
  },
  {
    a_source: 'a failed run has no best',
    source: of('prose', 'Best'),
    runs: [run({ ended: 'False' })],
    want: 'invalid RunFailed',
  },
  {
    a_source: 'a failed run still has its sealed checkpoints',
    source: of('prose', 'checkpoint-12'),
    runs: [run({ ended: 'False' })],
    want: a,
  },
  { a_source: 'a digest of any run', source: { digest: a }, want: a },
  {
    a_source: 'a digest that served before, without any run',
    source: { digest: c },
    runs: [],
    status: served,
    want: c,
  },
  { a_source: 'an unknown digest', source: { digest: c }, want: 'invalid DigestUnknown', says: /spec.source.digest/ },
  { a_source: 'the base of what served last', source: { base: true }, runs: [], status: served, want: '' },
  { a_source: 'the base of nothing', source: { base: true }, want: 'invalid BaseUnknown' },
]
for (const { a_source, source, runs = [run()], status, want, says } of cases)
  test(`source: ${a_source}`, () => {
    const resolution = resolveSource(release({ source }, status), { runs, releases: [] })
    const got = resolution.kind === 'resolved' ? resolution.adapter.digest : `${resolution.kind} ${resolution.reason}`
    assert.equal(got, want)
    if (says) assert.match(resolution.kind === 'resolved' ? '' : resolution.message, says)
  })

test('what is resolved carries everything that outlives its run', () => {
  const resolution = resolveSource(release(), { runs: [run()], releases: [] })
  assert.deepEqual(resolution.kind === 'resolved' && resolution.adapter, {
    name: 'prose/checkpoint-24',
    run: 'prose',
    checkpoint: 'checkpoint-24',
    digest: b,
    path: 'runs/team/prose/prose-uid/checkpoint-24',
    generation: 0,
    metrics: { evalLoss: '1.8', baselineLoss: '2.0', datasetDigest: digestOf('d') },
    model: { path: 'models/m', digest: digestOf('m'), name: 'm' },
    quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDType: 'Auto' },
    format: { sample: 'Denoise', systemPrompt: 's', userTemplate: '{text}' },
  })
})

test("a run's chat template stays out of a release's status: the adapter's folder has it", () => {
  const given = run()
  const format = { ...given.status!.format!, chatTemplate: '{{ messages }}' }
  const runs = [{ ...given, status: { ...given.status!, format } }]
  const resolution = resolveSource(release(), { runs, releases: [] })
  assert.deepEqual(resolution.kind === 'resolved' && resolution.adapter.format, given.status!.format)
})

test('a refused pin follows a run that is made again', () => {
  const pinned = resolveSource(release(), { runs: [run()], releases: [] })
  const status: Status = pinned.kind === 'resolved' && pinned.pin ? { resolved: pinned.pin } : {}
  const again = run({ uid: 'again', checkpoints: [{ step: 5, letter: 'c', best: true }] })
  const resolution = resolveSource(release({}, status), { runs: [again], releases: [] })
  assert.equal(resolution.kind === 'resolved' && resolution.adapter.digest, c)
})
