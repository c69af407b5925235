import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Adapter, Format, Status } from './adapter.ts'
import { digestOf, release } from './objects.ts'
import { expanded, stored } from './stored.ts'

const prompt = (letter: string, length = 4096): Format => ({
  sample: 'Denoise',
  systemPrompt: letter.repeat(length),
  userTemplate: '{text}',
})
const adapter = (n: number, format: Format, extra: Partial<Adapter> = {}): Adapter => ({
  name: `prose/checkpoint-${n}`,
  run: 'prose',
  checkpoint: `checkpoint-${n}`,
  digest: `sha256:${n.toString(16).padStart(64, '0')}`,
  path: `runs/team/prose/3e1f0c2a-7d0b-4a51-9a55-0d6a1c2b3e4f/checkpoint-${n}`,
  generation: n,
  metrics: { evalLoss: '1.8', baselineLoss: '2.0', datasetDigest: digestOf('d') },
  model: { path: 'models/m', digest: digestOf('e'), name: 'm' },
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDType: 'Auto' },
  format,
  ...extra,
})
const full = (formatOf: (n: number) => Format): Status => {
  const history = Array.from({ length: 20 }, (_, n) => adapter(n, formatOf(n)))
  const candidate = adapter(20, formatOf(20))
  return {
    active: history[0]!,
    previous: history[1]!,
    candidate,
    history,
    resolved: { run: 'prose', runUID: 'u', checkpoint: 'Best', adapter: candidate },
    pins: [{ run: 'prose', runUID: 'u', checkpoint: 'checkpoint-19', digest: history[19]!.digest }],
    verdict: { state: 'Switching', judged: 'x' },
  }
}
const bytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value))
const back = (status: Status): Status =>
  expanded({ ...release(), status: stored(status) } as Parameters<typeof expanded>[0]).status ?? {}

test('what is stored and read again is the same, and the one prompt of all stands once', () => {
  const status = full(() => prompt('語'))
  assert.deepEqual(back(status), status)
  assert.equal(stored(status).prompts?.length, 1)
  assert.ok(bytes(stored(status)) <= 40_960, `${bytes(stored(status))} bytes`)
  assert.equal(stored(status).history?.length, 20)
})

test('an equal status is stored in equal words', () => {
  const status = full((n) => prompt('xyz'[n % 3]!, 100))
  assert.equal(JSON.stringify(stored(back(status))), JSON.stringify(stored(status)))
})

for (const letter of ['x', '語', '🙂'])
  test(`twenty-one prompts of 4,096 times ${letter} leave the newest of history, within bounds`, () => {
    const status = full((n) => ({ ...prompt(letter), userTemplate: `${n} {text}` }))
    const result = stored(status)
    assert.ok(bytes(result) <= 40_960, `${bytes(result)} bytes`)
    assert.ok(result.history!.length >= 1)
    assert.equal(result.history![0]!.digest, status.active?.digest)
    assert.deepEqual(back(status).candidate, status.candidate)
    assert.equal(result.pins, undefined, 'the pin of what went out of history goes with it')
  })

test('a status of the longest of everything stays below 64 KiB', () => {
  const wild = '\u0001'
  const format = (n: number): Format => ({
    sample: 'Denoise',
    systemPrompt: wild.repeat(4096),
    userTemplate: `${n}${wild.repeat(4000)}`,
  })
  const result = stored(full(format))
  assert.ok(bytes(result) < 65_536, `${bytes(result)} bytes`)
  assert.equal(result.prompts?.length, 1)
})

test('a status from before prompts stood apart is read', () => {
  assert.deepEqual(expanded({ ...release(), status: { active: { name: 'base', digest: '', generation: 1 } } }).status, {
    active: { name: 'base', digest: '', generation: 1 },
  })
})
