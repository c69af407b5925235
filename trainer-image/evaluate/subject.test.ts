import assert from 'node:assert/strict'
import { test } from 'node:test'
import { metricsOfAnswers, type Questions } from './subject.ts'

const tokens = (from: number, length: number): Int32Array => Int32Array.from({ length }, (_, i) => from + i)
const example = (id: string, text: Int32Array): Questions['train'][number] => ({
  id,
  tokens: text,
  labels: text,
  promptTokens: 0,
  labelTokens: text.length,
})

test('what was planted is found: an output that holds 60 tokens of a training text, and two of four texts that came out whole', async () => {
  const learnt = tokens(1000, 80)
  const output = (id: string, given: readonly number[]) => ({ id, text: 'a b', tokens: given, finish: 'stop' as const })
  const sample = { input: 'a b', human: undefined, humanTokens: tokens(0, 0), prompt: tokens(0, 1), maxTokens: 100 }
  const questions = {
    samples: [
      { ...sample, id: 'one' },
      { ...sample, id: 'two' },
    ],
    continuations: ['a', 'b', 'c', 'd'].map((id) => ({ id, prompt: tokens(0, 10), next: tokens(0, 10) })),
    train: [example('other', tokens(5000, 80)), example('learnt', learnt)],
    seed: 42,
  }
  const answers = {
    outputs: [output('one', [7, ...learnt.subarray(10, 70), 8]), output('two', [...tokens(9000, 30)])],
    matched: [10, 9, 10, 0],
    curvatures: [1.5, null],
  }
  const work = { signal: new AbortController().signal, beat: () => {} }
  const found = await metricsOfAnswers(answers, questions as unknown as Questions, work)
  const shownBy = (name: string): number | undefined => found.find((metric) => metric.name === name)?.value
  assert.deepEqual([shownBy('longestSharedRun'), shownBy('memorised')], [30, 0.5])
  assert.deepEqual([shownBy('extracted'), shownBy('curvature')], [0.5, 1.5])
  // Wilson's interval of two of four.
  const { low, high } = found.find(({ name }) => name === 'extracted')!
  assert.deepEqual([low?.toFixed(3), high?.toFixed(3)], ['0.150', '0.850'])
})
