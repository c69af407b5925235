import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { createChatTemplate } from '../model/chat-template.ts'
import { openModel } from '../model/open.ts'
import { batchOf, binsInOrder, microBatches } from './batches.ts'
import type { Row } from './dataset.ts'
import { type Codec, ignoredLabel, renderExample, templateDate } from './example.ts'
import { makeExamples } from './examples.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
const codec: Codec = { ...opened, dateString: templateDate }
const format = { sample: 'Denoise', systemPrompt: 'Rewrite.', userTemplate: 'Text: {text}' }
const pair = { id: 'a', input: 'the cat sat', target: 'The cat sat down.', trainsOnInput: false }
const { tokenizer } = opened

/** The text whose tokens are labels. */
const learnt = ({ labels }: { labels: Int32Array }) =>
  tokenizer.decode(
    labels.filter((label) => label !== ignoredLabel),
    false,
  )

test('traps 3 and 8: the answer and its end-of-turn token are learnt, and nothing else', () => {
  const example = renderExample(codec, format, pair)
  assert.equal(learnt(example), 'The cat sat down.<|im_end|>')
  assert.equal(example.labelTokens, tokenizer.encode('The cat sat down.').length + 1)
  assert.equal(
    tokenizer.decode(example.tokens, false),
    '<|im_start|>system\nRewrite.<|im_end|>\n<|im_start|>user\nText: the cat sat<|im_end|>\n<|im_start|>assistant\nThe cat sat down.<|im_end|>',
  )
})

test('a label is the next token', () => {
  const { tokens, labels } = renderExample(codec, format, pair)
  for (let i = 0; i < tokens.length; i++) if (labels[i] !== ignoredLabel) assert.equal(labels[i], tokens[i + 1])
  assert.equal(labels.at(-1), ignoredLabel)
})

test('trap 6: the prompt is encoded as serving encodes it, so that training sees what serving sends', () => {
  const example = renderExample(codec, format, pair)
  const prompt = opened.chatTemplate.render(
    [
      { role: 'system', content: 'Rewrite.' },
      { role: 'user', content: 'Text: the cat sat' },
    ],
    { addGenerationPrompt: true, dateString: templateDate },
  )
  assert.deepEqual(example.tokens.subarray(0, example.promptTokens), tokenizer.encode(prompt))
})

test('with Identity the text inside the prompt is learnt too', () => {
  const example = renderExample(codec, format, { ...pair, input: pair.target, trainsOnInput: true })
  const text = learnt(example)
  assert.ok(text.endsWith('The cat sat down.<|im_end|>'))
  assert.match(text.slice(0, -'The cat sat down.<|im_end|>'.length), /cat sat down\.$/)
  assert.ok(!text.includes('Text:'))
})

test('a text with $& and {text} of its own is put into the prompt as it is', () => {
  const example = renderExample(codec, format, { ...pair, input: 'costs $& or {text}' })
  assert.ok(tokenizer.decode(example.tokens, false).includes('Text: costs $& or {text}<|im_end|>'))
})

test('an answer ends with the first end-of-turn token behind it, whatever it holds or the template adds', () => {
  const chatTemplate = createChatTemplate(
    'test',
    `${opened.chatTemplate.source}{% if not add_generation_prompt %}<|im_end|>{% endif %}`,
    {},
  )
  const twice = renderExample({ ...codec, chatTemplate }, format, pair)
  assert.deepEqual(twice, renderExample(codec, format, pair))
  const example = renderExample(codec, format, { ...pair, target: 'A<|im_end|>B' })
  assert.equal(learnt(example), 'A<|im_end|>B<|im_end|>')
})

test('trap 3: a template that never ends a turn is refused', () => {
  const endless: Codec = { ...codec, generation: { ...codec.generation, endOfTurnIds: [599] } }
  assert.throws(() => renderExample(endless, format, pair), /none of the end-of-turn tokens 599/)
})

async function* rowsOf(...rows: Pick<Row, 'kind' | 'target'>[]): AsyncGenerator<Row> {
  for (const [index, row] of rows.entries()) yield { id: `r${index}`, cluster: 'c', input: row.target, ...row }
}
const sentences = Array.from({ length: 12 }, (_, i) => `Sentence number ${i} is here. `)
  .join('')
  .trim()
let beats = 0
const work = { signal: new AbortController().signal, beat: () => void beats++ }

for (const kind of ['Identity', 'Denoise'] as const)
  test(`a long ${kind} text becomes pieces that all fit, keep its id and end their turn`, async () => {
    const { examples, chunked, dropped } = await makeExamples(
      rowsOf({ kind, target: sentences }),
      codec,
      format,
      160,
      42,
      work,
    )
    assert.ok(examples.length > 1 && chunked === 1 && dropped === 0)
    for (const example of examples) {
      assert.ok(example.tokens.length <= 160)
      assert.equal(example.id, 'r0')
      assert.equal(example.tokens.at(-1), tokenizer.idOf('<|im_end|>'))
      const answer = example.tokens.length - example.promptTokens
      assert.equal(example.labelTokens > answer, kind === 'Identity', 'with Identity the text of the prompt is learnt')
      assert.ok(example.labelTokens >= answer)
    }
    const targets = examples.map(({ tokens }) =>
      tokenizer.decode(tokens, false).split('assistant\n')[1]!.replace('<|im_end|>', ''),
    )
    assert.equal(targets.join(' '), sentences)
  })

test('a text that just fits stays whole', async () => {
  const rows = () => rowsOf({ kind: 'Denoise', target: 'The cat sat down. Then it went away.' })
  const length = (await makeExamples(rows(), codec, format, 500, 42, work)).examples[0]!.tokens.length
  const [whole, parted] = [length, length - 1].map((fits) => makeExamples(rows(), codec, format, fits, 42, work))
  assert.deepEqual([(await whole!).examples.length, (await whole!).chunked], [1, 0])
  assert.deepEqual([(await parted!).examples.length, (await parted!).chunked], [2, 1])
  assert.equal((await makeExamples(rowsOf(), codec, format, 500, 42, work)).droppedShare, 0)
})

test('a sentence that fits nowhere is dropped and counted, by the characters it takes with it', async () => {
  const target = `Short one. Long ${'word '.repeat(200)}end. Short two.`
  const { examples, dropped, droppedShare } = await makeExamples(
    rowsOf({ kind: 'Denoise', target }),
    codec,
    format,
    100,
    42,
    work,
  )
  assert.deepEqual([examples.length, dropped], [2, 1])
  const long = `Long ${'word '.repeat(200)}end.`
  assert.equal(droppedShare, long.length / target.length)
})

test('whoever watches sees that rows are being tokenised', async () => {
  const row = { kind: 'Denoise' as const, target: 'The cat sat down.' }
  beats = 0
  await makeExamples(rowsOf(...Array.from({ length: 100 }, () => row)), codec, format, 100, 42, work)
  assert.equal(beats, 3)
})

test('batches concatenate documents, mark sequences and number them in the effective batch', async () => {
  const { examples } = await makeExamples(
    rowsOf(...['One.', 'Two two.', 'Three three three.'].map((target) => ({ kind: 'Denoise' as const, target }))),
    codec,
    format,
    200,
    42,
    work,
  )
  const lengths = examples.map(({ tokens }) => tokens.length)
  const whole = batchOf(examples, [[0, 2], [1]], 0)
  assert.deepEqual(
    [...whole.documents],
    [0, lengths[0], lengths[0]! + lengths[2]!, lengths[0]! + lengths[1]! + lengths[2]!],
  )
  assert.deepEqual([...whole.sequences], [0, whole.documents[2], whole.documents[3]])
  const parts = [...microBatches(examples, [[0, 2], [1]], 1)]
  assert.deepEqual(
    parts.map(({ sequenceOrdinals }) => [...sequenceOrdinals]),
    [[0], [1]],
  )
  assert.deepEqual(
    parts.flatMap(({ tokens }) => [...tokens]),
    [...whole.tokens],
  )
  assert.deepEqual(
    parts.flatMap(({ labels }) => [...labels]),
    [...whole.labels],
  )
})

test('trap 23: evaluation keeps the order of its examples', () => {
  const of = (...lengths: number[]) => lengths.map((length) => ({ tokens: { length } })) as never
  assert.deepEqual(binsInOrder(of(60, 40, 10, 95, 5), 100), [[0, 1], [2], [3, 4]])
})
