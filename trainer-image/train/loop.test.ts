import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { Batch } from '../native/index.ts'
import { newStanding, type Standing } from './early-stopping.ts'
import { type Arithmetic, type Fact, type LoopOptions, trainLoop } from './loop.ts'

const batch = (tokens: number): Batch => ({
  tokens: new Int32Array(tokens),
  labels: new Int32Array(tokens),
  documents: Int32Array.of(0, tokens),
  sequences: Int32Array.of(0, tokens),
  sequenceOrdinals: Int32Array.of(0),
})

interface World {
  readonly losses?: readonly number[]
  readonly finite?: (step: number) => boolean
  readonly accumulate?: Arithmetic['accumulate']
}

/** Two micro-batches a step; label tokens and losses by hand. Records what the optimizer was told. */
function arithmetic({ losses = [], finite = () => true, accumulate }: World) {
  const updates: { step: number; labelTokens: number }[] = []
  let evaluation = 0
  const operations: Arithmetic = {
    accumulate: accumulate ?? (async ({ tokens }) => ({ nll: tokens.length * 3, labelTokens: tokens.length / 2 })),
    async update(step, _, labelTokens) {
      updates.push({ step, labelTokens })
      return { gradientNorm: 1, finite: finite(step), ...(!finite(step) && { nonFinite: `lora_B of step ${step}` }) }
    },
    evaluate: async (step) =>
      losses.length === 0 ? undefined : EvaluationResult.fromPartial({ step, loss: losses[evaluation++] ?? 9 }),
  }
  return { operations, updates }
}

const options = (change: Partial<LoopOptions> = {}): LoopOptions => ({
  schedule: { totalSteps: 10, stepsPerEpoch: 5, warmupSteps: 0, peak: 1, shape: 'Constant' },
  batches: (step) => (step % 5 === 0 ? [batch(10)] : [batch(10), batch(30)]),
  evaluateEvery: 4,
  checkpointEvery: 5,
  checkpointAsked: () => false,
  patience: 0,
  minImprovement: 0,
  from: { step: 0, standing: newStanding, evaluated: true },
  ...change,
})

async function facts(world: World, change: Partial<LoopOptions> = {}, signal = new AbortController().signal) {
  const all: Fact[] = []
  for await (const fact of trainLoop(arithmetic(world).operations, options(change), signal)) all.push(fact)
  return all
}
/** "e4" is an evaluation at step 4, "c5" a checkpoint, "f10" the end; steps are left out. */
const boundaries = (all: readonly Fact[]): string =>
  all.flatMap(({ kind, step }) => (kind === 'step' ? [] : [`${kind[0]}${step}`])).join(' ')

const cases: { a_run: string; world: World; change: Partial<LoopOptions>; want: string }[] = [
  {
    a_run: 'evaluates at its cadence, at checkpoints and at the end; a new best is sealed',
    world: { losses: [5, 4, 6, 7] },
    change: {},
    want: 'e4 c4 e5 c5 e8 e10 c10 f10',
  },
  { a_run: 'without validation text only seals', world: {}, change: {}, want: 'c5 c10 f10' },
  {
    a_run: 'stops when patience ends, sealed and evaluated',
    world: { losses: [5, 6, 7] },
    change: { patience: 2, checkpointEvery: 0, evaluateEvery: 2 },
    want: 'e2 c2 e4 e6 c6 f6',
  },
  {
    a_run: 'seals what a caller asks for without evaluating',
    world: {},
    change: {
      checkpointEvery: 0,
      evaluateEvery: 0,
      checkpointAsked: (() => {
        let asked = 3
        return () => --asked === 0
      })(),
    },
    want: 'c3 c10 f10',
  },
  {
    a_run: 'may evaluate and seal at every step, and stop at the first that is no better',
    world: { losses: [5, 6] },
    change: { checkpointEvery: 1, evaluateEvery: 1, patience: 1 },
    want: 'e1 c1 e2 c2 f2',
  },
  {
    a_run: 'that resumes makes up for the evaluation that a stop cut off',
    world: { losses: [5, 6, 7] },
    change: { from: { step: 8, standing: newStanding, evaluated: false } },
    want: 'e8 c8 e10 c10 f10',
  },
  {
    a_run: 'that resumes at its end is finished at once',
    world: { losses: [5] },
    change: { from: { step: 10, standing: newStanding, evaluated: true } },
    want: 'f10',
  },
  {
    a_run: 'that resumes after a patience of one has ended is finished at once',
    world: { losses: [5] },
    change: {
      patience: 1,
      from: { step: 6, standing: { best: { step: 2, loss: 1 }, withoutImprovement: 1 }, evaluated: true },
    },
    want: 'f6',
  },
  {
    a_run: 'that resumes after its patience ended is finished at once',
    world: { losses: [5] },
    change: {
      patience: 2,
      from: {
        step: 6,
        standing: { best: { step: 2, loss: 1 }, withoutImprovement: 2 } satisfies Standing,
        evaluated: true,
      },
    },
    want: 'f6',
  },
]
for (const { a_run, world, change, want } of cases)
  test(`trap 24: a run ${a_run}`, async () => assert.equal(boundaries(await facts(world, change)), want))

test('trap 1: a step is divided by its own label tokens, the partial one too', async () => {
  const { operations, updates } = arithmetic({})
  const losses: number[] = []
  const tokens: number[] = []
  for await (const fact of trainLoop(operations, options(), new AbortController().signal))
    if (fact.kind === 'step') {
      losses.push(fact.loss)
      tokens.push(fact.tokens)
    }
  assert.deepEqual(tokens.slice(3, 6), [40, 10, 40])
  assert.deepEqual(updates.slice(3, 6), [
    { step: 4, labelTokens: 20 },
    { step: 5, labelTokens: 5 },
    { step: 6, labelTokens: 20 },
  ])
  assert.ok(losses.every((loss) => loss === 6))
})

test('trap 17: two non-finite steps in a row are skipped, three end the run and say where', async () => {
  const all = await facts({ finite: (step) => step % 3 === 0 })
  assert.equal(all.filter((fact) => fact.kind === 'step' && !fact.finite).length, 7)
  await assert.rejects(facts({ finite: (step) => step < 4 }), {
    reason: 'NonFinite',
    message: /up to step 6, first in lora_B of step 6; lower training.learningRate/,
  })
  const accumulate: Arithmetic['accumulate'] = async () => ({ nll: Number.NaN, labelTokens: 1, nonFinite: 'layer 2' })
  await assert.rejects(facts({ finite: () => false, accumulate }), { message: /up to step 3, first in layer 2;/ })
})

test('why a GPU could not keep a step as a graph stands in the fact of that step', async () => {
  const accumulate: Arithmetic['accumulate'] = async (_, step) => ({
    nll: 1,
    labelTokens: 1,
    ...(step === 2 && { notKept: 'no room' }),
  })
  const told = (await facts({ accumulate })).flatMap((fact) => (fact.kind === 'step' ? [fact.notKept] : []))
  assert.deepEqual(told.slice(0, 3), [undefined, 'no room', undefined])
})

test('with Identity data best and patience follow the loss of human text', async () => {
  const humanLosses = [3, 2]
  const { operations } = arithmetic({})
  let evaluation = 0
  const identity: Arithmetic = {
    ...operations,
    evaluate: async (step) =>
      EvaluationResult.fromPartial({ step, loss: 0.1 * (evaluation + 1), humanLoss: humanLosses[evaluation++] }),
  }
  const all: Fact[] = []
  const change = { checkpointEvery: 0, evaluateEvery: 5 }
  for await (const fact of trainLoop(identity, options(change), new AbortController().signal)) all.push(fact)
  assert.deepEqual(all.at(-1), {
    kind: 'finished',
    step: 10,
    stoppedEarly: false,
    standing: { best: { step: 10, loss: 2 }, withoutImprovement: 0 },
  })
})

test('an abort leaves a micro-batch in flight behind, with its own reason', async () => {
  const abort = new AbortController()
  const reason = new Error('SIGTERM')
  const accumulate: Arithmetic['accumulate'] = (_, step) => {
    if (step < 3) return Promise.resolve({ nll: 1, labelTokens: 1 })
    abort.abort(reason)
    return new Promise(() => {})
  }
  const seen: Fact[] = []
  await assert.rejects(
    async () => {
      for await (const fact of trainLoop(arithmetic({ accumulate }).operations, options(), abort.signal))
        seen.push(fact)
    },
    (error) => error === reason,
  )
  assert.equal(seen.at(-1)?.step, 2)
})
