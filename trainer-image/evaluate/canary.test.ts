import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backendOf } from '../model/compute-dtype.ts'
import type { ComputePath } from '../native/index.ts'
import { SealBroken } from '../storage/sealed.ts'
import { type Canary, canaryOf, chooseCanary, disagreement, objection, readCanary, toleranceOf } from './canary.ts'

const on = (instructionPath: ComputePath) => ({ backend: backendOf(instructionPath), instructionPath })
const text = (id: string) => ({ id, text: 'words', tokens: [1, 2, 3, 4], promptTokens: 2 })
const sealed = canaryOf(on('avx2'), [text('one'), text('two')], [2, 3], [2.5, 3.5])!

const cases: {
  readonly measured: string
  readonly losses: number[]
  readonly here?: ComputePath
  readonly sealedOn?: ComputePath
  readonly says: RegExp | undefined
}[] = [
  { measured: 'the same', losses: [2, 3], says: undefined },
  { measured: 'the same in another order of sums', losses: [2.00009, 2.99991], here: 'avx512', says: undefined },
  {
    measured: 'a little else in f32',
    losses: [2, 3.0002],
    says: /^canary text two: loss 3\.00020 here \(CPU avx2\), 3\.00000 when it was sealed \(CPU avx2\), expected within 0\.0001$/,
  },
  { measured: 'as much else as bf16 makes', losses: [2.02, 2.98], here: 'avx512_bf16', says: undefined },
  { measured: 'as much else by one sealed in bf16', losses: [2.02, 2.98], sealedOn: 'avx512_bf16', says: undefined },
  {
    measured: 'as much else as bf16 makes, though it was sealed on the same path',
    losses: [2.02, 3],
    here: 'avx512_bf16',
    sealedOn: 'avx512_bf16',
    says: /^canary text one: loss 2\.02000 here \(CPU avx512_bf16\).*expected within 0\.0001$/,
  },
  {
    measured: 'more than bf16 makes',
    losses: [2, 3.04],
    here: 'avx512_bf16',
    says: /^canary text two: loss 3\.04000 here \(CPU avx512_bf16\).*expected within 0\.03$/,
  },
  { measured: 'no number', losses: [Number.NaN, 3], says: /^canary text one: loss NaN here/ },
  { measured: 'an infinite loss', losses: [2, Number.POSITIVE_INFINITY], says: /^canary text two: loss Infinity here/ },
  { measured: 'nothing of one text', losses: [2], says: /^canary text two: loss undefined here/ },
]
for (const { measured, losses, here = 'avx2', sealedOn = 'avx2', says } of cases)
  test(`a pod that measures ${measured} ${says ? 'is refused' : 'is believed'}`, () => {
    const found = disagreement({ ...sealed, instructionPath: sealedOn }, 'loss', losses, on(here))
    if (says) assert.match(found ?? '', says)
    else assert.equal(found, undefined)
  })

test('the base has losses of its own', () => {
  assert.equal(disagreement(sealed, 'baseLoss', [2.5, 3.5], on('avx2')), undefined)
  assert.match(disagreement(sealed, 'baseLoss', [2, 3], on('avx2')) ?? '', /loss 2\.00000 here .*, 2\.50000 when/)
})

test('the tolerance is the same both ways, and that of bf16 for a GPU that computes in it', () => {
  assert.equal(toleranceOf(on('avx512'), on('baseline')), 1e-4)
  assert.equal(toleranceOf(on('cuda'), on('avx2')), 0.03)
  assert.equal(toleranceOf(on('avx2'), on('cuda')), 0.03)
  assert.equal(toleranceOf(on('cuda'), on('cuda')), 0.03)
  assert.equal(toleranceOf(on('cuda_f32'), on('avx2')), 1e-4)
})

test('a vLLM has tolerances of its own, the wide one where its base may have other values than the trainer’s', async () => {
  const vllm = { backend: 'vLLM', instructionPath: 'bf16' } as const
  assert.equal(toleranceOf(on('avx2'), { ...vllm, sameBase: true }), 0.05)
  assert.equal(toleranceOf(on('cuda'), { ...vllm, sameBase: false }), 0.2)
  const losses = { loss: [2.06, 3], baseLoss: [2.5, 3.5] }
  const measure = async (which: keyof typeof losses) => losses[which]
  assert.equal(await objection(sealed, { ...vllm, sameBase: false }, measure), undefined)
  assert.equal(
    await objection(sealed, { ...vllm, sameBase: true }, measure),
    'canary text one: loss 2.06000 here (vLLM bf16), 2.00000 when it was sealed (CPU avx2), expected within 0.05; the untouched base agrees',
  )
})

test('an objection says that the untouched base is another; what agrees needs no look at it', async () => {
  const found = await objection(sealed, on('avx2'), async (which) => (which === 'loss' ? [3, 3] : [3.5, 3.5]))
  assert.match(
    found ?? '',
    /^canary text one: .*; the untouched base differs as well: canary text one: loss 3\.50000 here/,
  )
  const asked: string[] = []
  const measure = async (which: 'loss' | 'baseLoss') => {
    asked.push(which)
    return [2, 3]
  }
  assert.equal(await objection(sealed, on('avx2'), measure), undefined)
  assert.deepEqual(asked, ['loss'])
})

test('what is not finite is not sealed', () => {
  assert.equal(canaryOf(on('avx2'), [text('one')], [Number.NaN], [1]), undefined)
  assert.equal(canaryOf(on('avx2'), [], [], []), undefined)
})

const example = (id: string, length: number, promptTokens: number) => ({
  id,
  tokens: Int32Array.from({ length }, (_, index) => index),
  labels: new Int32Array(length),
  promptTokens,
  labelTokens: length - promptTokens,
})

test('the set is of the shortest texts with an answer worth measuring, within its tokens', () => {
  const examples = [
    example('long', 300, 10),
    example('short', 40, 20),
    example('bare', 21, 20),
    example('mid', 200, 20),
  ]
  const chosen = chooseCanary(examples, (tokens) => `${tokens.length} tokens`)
  assert.deepEqual(
    chosen.map(({ id, text }) => [id, text]),
    [
      ['short', '20 tokens'],
      ['mid', '180 tokens'],
    ],
    'two, and no more than 320 tokens',
  )
  assert.deepEqual(
    chooseCanary([example('only', 4000, 100)], String).map(({ id }) => id),
    ['only'],
  )
  assert.deepEqual(
    chooseCanary([example('bare', 21, 20)], String).map(({ id }) => id),
    ['bare'],
  )
  assert.deepEqual(chooseCanary([], String), [])
})

test('a set in a manifest is read as it was written, and what is none is refused', () => {
  assert.deepEqual(readCanary(JSON.parse(JSON.stringify(sealed)), 'x'), sealed)
  assert.equal(readCanary(undefined, 'x'), undefined)
  const [first] = sealed.texts
  const broken: Partial<Canary>[] = [
    {},
    { ...sealed, texts: [{ ...first!, tokens: [1, -2, 3] }] },
    { ...sealed, texts: [{ ...first!, tokens: [1] }] },
    { ...sealed, texts: [{ ...first!, loss: null as never }] },
  ]
  for (const fact of broken)
    assert.throws(
      () => readCanary(fact, 'adapters/x'),
      (error) => error instanceof SealBroken,
    )
  assert.throws(() => readCanary(null, 'adapters/x'), SealBroken)
})
