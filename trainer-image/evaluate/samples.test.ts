import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openModel } from '../model/open.ts'
import type { Row } from '../train/dataset.ts'
import { promptMessages, renderExample } from '../train/example.ts'
import { answerTokens, chooseContinuations, chooseSamples } from './samples.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const codec = { ...opened, dateString: '26 Jul 2024' }
const format = { sample: 'Denoise', systemPrompt: 'Rewrite.', userTemplate: 'Text: {text}', chatTemplate: '' }
const words = (count: number, first: number): string =>
  Array.from({ length: count }, (_, i) => `word${(first + i) % 97}`).join(' ')

const rows = Array.from({ length: 20 }, (_, i): Row => {
  const target = words(i < 10 ? 10 : 200, 7 * i)
  return { id: `row-${i}`, cluster: `row-${i}`, kind: 'Denoise', input: target.replace('word', ''), target }
})
async function* stream<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items
}
const machine = Array.from({ length: 8 }, (_, i) => ({ id: `machine-${i}`, text: words(12, 5 * i) }))
const take = (count: number, texts = machine, seed = 42) =>
  chooseSamples(stream(rows), stream(texts), codec, format, 256, count, seed)
const idsOf = (samples: readonly { id: string }[]): string[] => samples.map(({ id }) => id)

test('samples are fixed by the seed, fit whole, and half of them were written by machines where there are such', async () => {
  const samples = await take(8)
  assert.deepEqual(idsOf(await take(8)), idsOf(samples))
  assert.notDeepEqual(idsOf(await take(8, machine, 43)), idsOf(samples))
  assert.equal(samples.filter(({ human }) => human === undefined).length, 4)
  for (const { prompt, maxTokens, humanTokens } of samples) {
    assert.ok(maxTokens > 0 && prompt.length + maxTokens <= 256)
    assert.ok(humanTokens.length < maxTokens)
  }
  assert.ok(
    idsOf(samples).every((id) => !/row-1\d/.test(id)),
    'rows of 200 words do not fit',
  )
  assert.equal((await take(8, [])).length, 8)
  assert.equal((await take(40, machine.slice(0, 1))).length, 11)
  assert.deepEqual(await take(0), [])
})

test('a sample is asked as serving asks, and its human text is what the example trains on', async () => {
  const sample = (await take(8)).find(({ human }) => human !== undefined)!
  const options = { addGenerationPrompt: true, dateString: codec.dateString }
  const prompt = opened.chatTemplate.render(promptMessages(format, sample.input), options)
  assert.deepEqual(sample.prompt, opened.tokenizer.encode(prompt))
  assert.equal(opened.tokenizer.decode(sample.humanTokens), sample.human)
})

test('a continuation gives the beginning of an answer and nothing else of its text', () => {
  const examples = rows.map(({ id, input, target }) =>
    renderExample(codec, format, { id, input, target, trainsOnInput: false }),
  )
  const [first] = chooseContinuations(examples, codec, format, 3, 42)
  const answer = answerTokens(examples.find((_, i) => rows[i]!.id === first!.id)!)
  const given = Math.min(50, Math.floor(answer.length / 2))
  const empty = opened.tokenizer.encode(
    opened.chatTemplate.render(promptMessages(format, ''), { addGenerationPrompt: true, dateString: codec.dateString }),
  )
  assert.deepEqual([...first!.prompt], [...empty, ...answer.subarray(0, given)])
  assert.deepEqual([...first!.next], [...answer.subarray(given, 2 * given)])
  const short = renderExample(codec, format, { id: 's', input: 'a', target: 'a few words', trainsOnInput: false })
  assert.deepEqual(chooseContinuations([short], codec, format, 3, 42), [])
})
