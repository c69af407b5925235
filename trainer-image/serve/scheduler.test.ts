import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Adapter, Model, Sequence } from '../native/index.ts'
import { Generation, type Piece } from './generation.ts'
import { type Job, planStep, QueueFull, Scheduler, type SchedulerLimits } from './scheduler.ts'

const VOCABULARY = 32
const END = 31

/**
 * Counts: after token t comes t + 1, or t + 2 with an adapter. It refuses what the engine would: a closed sequence,
 * two calls at once, more tokens than were asked for.
 */
class CountingModel {
  readonly batches: { sequence: CountingSequence; count: number }[][] = []
  readonly open = new Set<CountingSequence>()
  fault: Error | undefined
  #busy = false

  openSequence(adapter: Adapter | undefined, maxTokens: number): Sequence {
    const sequence = new CountingSequence(this.open, adapter ? 2 : 1, maxTokens)
    this.open.add(sequence)
    return sequence
  }

  async sample(items: Parameters<Model['sample']>[0]): ReturnType<Model['sample']> {
    assert.equal(this.#busy, false, 'one pass at a time')
    this.#busy = true
    await turn()
    this.#busy = false
    if (this.fault) throw this.fault
    const batch = items.map(({ sequence, tokens }) => ({
      sequence: sequence as CountingSequence,
      count: tokens.length,
    }))
    this.batches.push(batch)
    return items.map(({ sequence, tokens, choice }) => {
      const id = (sequence as CountingSequence).append(tokens)
      return choice && { id, logit: 10, top: [] }
    })
  }
}

class CountingSequence implements Sequence {
  readonly #open: Set<CountingSequence>
  readonly #stride: number
  readonly #maxTokens: number
  length = 0

  constructor(open: Set<CountingSequence>, stride: number, maxTokens: number) {
    this.#open = open
    this.#stride = stride
    this.#maxTokens = maxTokens
  }

  append(tokens: Int32Array): number {
    assert.ok(this.#open.has(this), 'the sequence is open')
    this.length += tokens.length
    assert.ok(this.length <= this.#maxTokens, `${this.length} tokens of ${this.#maxTokens}`)
    return (tokens.at(-1)! + this.#stride) % VOCABULARY
  }

  close(): void {
    assert.ok(this.#open.delete(this), 'the sequence is closed once')
  }
}

const usual: SchedulerLimits = { maxRunning: 4, maxWaiting: 4, prefillTokens: 8, cacheTokens: 1000 }

function job(
  prompt: readonly number[],
  maxTokens: number,
  adapter?: Adapter,
): Job & { ids: number[]; finish: () => Piece['finish'] } {
  const ids: number[] = []
  const generation = new Generation({
    prompt: Int32Array.from(prompt),
    maxTokens,
    sampling: { temperature: 0, topP: 1, presencePenalty: 0, frequencyPenalty: 0, topLogprobs: undefined },
    seed: 0,
    choice: 0,
    stops: [],
    endIds: new Set([END]),
    text: { push: (id) => ` ${id}`, end: () => '' },
  })
  return { adapter, generation, ids, onPiece: ({ token }) => ids.push(token.id), finish: () => generation.finish }
}

function scheduler(limits: Partial<SchedulerLimits> = {}): { model: CountingModel; scheduler: Scheduler } {
  const model = new CountingModel()
  return { model, scheduler: new Scheduler(model as unknown as Model, { ...usual, ...limits }) }
}

const never = new AbortController().signal
const adapter = {} as Adapter
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

test('a step gives every decoding answer its token and shares the rest among prompts, the oldest first', () => {
  assert.deepEqual(planStep([1, 5, 1, 6], 8), [1, 5, 1, 3])
  assert.deepEqual(planStep([20, 1, 6], 8), [8, 1, 0])
})

test('trap 4: an answer ends at its limit or at an end-of-turn token', async () => {
  const { model, scheduler: queue } = scheduler()
  const long = job([1, 2, 3], 4)
  const short = job([28], 10)
  await queue.run([long, short], never)
  assert.deepEqual([long.ids, long.finish()], [[4, 5, 6, 7], 'length'])
  assert.deepEqual([short.ids, short.finish()], [[29, 30, 31], 'stop'])
  assert.equal(model.open.size, 0)
})

test('a long prompt is read in chunks while another answer is written beside it', async () => {
  const { model, scheduler: queue } = scheduler()
  const writing = queue.run([job([1], 6)], never)
  const reading = job(range(0, 20), 1)
  await Promise.all([writing, queue.run([reading], never)])
  assert.deepEqual(reading.ids, [20])
  assert.deepEqual(
    model.batches.slice(1, 4).map((batch) => batch.map(({ count }) => count)),
    [
      [1, 8],
      [1, 8],
      [1, 4],
    ],
  )
})

test('answers of different adapters share a batch and each keeps its own', async () => {
  const { model, scheduler: queue } = scheduler()
  const plain = job([0], 3)
  const tuned = job([0], 3, adapter)
  await Promise.all([queue.run([plain], never), queue.run([tuned], never)])
  assert.deepEqual(
    [plain.ids, tuned.ids],
    [
      [1, 2, 3],
      [2, 4, 6],
    ],
  )
  assert.equal(model.batches[1]?.length, 2)
})

test('a full queue refuses a request whole, and takes requests again once there is room', async () => {
  const { scheduler: queue } = scheduler({ maxRunning: 1, maxWaiting: 1 })
  const first = queue.run([job([1], 3)], never)
  await assert.rejects(queue.run([job([1], 1), job([2], 1)], never), QueueFull)
  const second = queue.run([job([2], 3)], never)
  await assert.rejects(queue.run([job([3], 3)], never), QueueFull)
  await Promise.all([first, second])
  await queue.run([job([3], 3)], never)
})

test('an aborted request frees its slots, whether it runs or waits', async () => {
  const { model, scheduler: queue } = scheduler({ maxRunning: 1 })
  const leaving = new AbortController()
  const aborted = queue.run([job([1], 1000), job([2], 1000)], leaving.signal)
  const patient = job([5], 2)
  const waiting = queue.run([patient], never)
  await turn()
  leaving.abort(new Error('the client left'))
  await assert.rejects(aborted, /the client left/)
  await waiting
  assert.deepEqual(patient.ids, [6, 7])
  assert.deepEqual([model.open.size, queue.load], [0, { running: 0, waiting: 0 }])
})

test('a failing engine fails the requests of that batch and later ones succeed', async () => {
  const { model, scheduler: queue } = scheduler()
  model.fault = new Error('out of memory')
  await assert.rejects(queue.run([job([1], 3), job([2], 3)], never), /out of memory/)
  model.fault = undefined
  assert.equal(model.open.size, 0)
  await queue.run([job([1], 3)], never)
})

test('when caches are used up the youngest answer starts over and still says the same, once', async () => {
  const { model, scheduler: queue } = scheduler({ cacheTokens: 24, prefillTokens: 64 })
  const old = job(range(0, 8), 12)
  const young = job(range(4, 12), 12)
  await Promise.all([queue.run([old], never), queue.run([young], never)])
  assert.deepEqual(old.ids, range(8, 20))
  assert.deepEqual(young.ids, range(12, 24))
  const most = Math.max(...model.batches.map((batch) => batch.reduce((sum, { count }) => sum + count, 0)))
  assert.ok(most > 8 && model.open.size === 0, 'tokens were read again')
})
