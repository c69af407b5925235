import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { corrupt } from '../dataset/denoise.ts'
import { outputMetrics, type Written } from './output-metrics.ts'

const texts = readFileSync(new URL('../../test/fixtures/prose.jsonl', import.meta.url), 'utf8')
  .split('\n', 40)
  .map((line) => (JSON.parse(line) as { text: string }).text)
const rowOf = (output: (text: string, input: string) => string, sharedRun = 5): Record<string, number> => {
  const written = texts.map((human, index): Written => {
    const input = corrupt(human, 42, `${index}`)
    return { input, output: output(human, input), human, sharedRun }
  })
  return Object.fromEntries(outputMetrics(written, 42).map(({ name, value }) => [name, value]))
}
const human = rowOf((text) => text)

test('the copy of the input keeps all and copies all, which no other metric punishes', () => {
  const copy = rowOf((_, input) => input)
  assert.deepEqual([copy['copyRate'], copy['wordOverlap'], copy['rougeL'], copy['lengthRatio']], [1, 1, 1, 1])
  assert.equal(human['copyRate'], 0)
})

test('human text has no distance from itself; without a third of its words and its commas it has', () => {
  assert.equal(human['styleDistance'], 0)
  const flat = rowOf((text) => text.replaceAll(',', '').replaceAll(/[.!?](?= \p{Lu})/gu, ' and'))
  assert.ok(flat['styleDistance']! > 0.3, `${flat['styleDistance']}`)
})

test('a text written three times over shows in repetition and length', () => {
  const thrice = rowOf((text) => `${text} ${text} ${text}`)
  assert.ok(thrice['repetition4']! > 0.6 && human['repetition4']! < 0.05)
  assert.ok(thrice['lengthRatioP95']! > 3 && human['lengthRatioP95']! < 2)
  assert.ok(thrice['repeatedStarts']! > human['repeatedStarts']! + 0.3)
})

test('of outputs of one to twenty words for one, the mean is 10.5 and the 95th percentile the nineteenth', () => {
  const written = Array.from({ length: 20 }, (_, index): Written => {
    const output = Array(index + 1)
      .fill('word')
      .join(' ')
    return { input: 'word', output, human: undefined, sharedRun: 3 * index }
  })
  const found = Object.fromEntries(outputMetrics(written, 42).map(({ name, value }) => [name, value]))
  assert.deepEqual([found['lengthRatio'], found['lengthRatioP95'], found['wordOverlap']], [10.5, 19, 1])
  assert.deepEqual([found['longestSharedRun'], found['memorised']], [28.5, 3 / 20])
})

test('fifty shared tokens are memorised, forty-nine are not, and what was not looked for is absent', () => {
  assert.equal(rowOf((text) => text, 50)['memorised'], 1)
  assert.equal(rowOf((text) => text, 49)['memorised'], 0)
  const unknown = outputMetrics([{ input: 'a b', output: 'a b', human: undefined, sharedRun: undefined }], 1)
  const names = unknown.map(({ name }) => name)
  assert.deepEqual(
    ['memorised', 'styleDistance', 'numbersKept', 'repetition4'].filter((name) => names.includes(name)),
    [],
  )
})

test('the same texts and seed give the same intervals, and they hold the value', () => {
  const written = texts.map(
    (text, index): Written => ({
      input: corrupt(text, 1, `${index}`),
      output: index % 3 === 0 ? corrupt(text, 1, `${index}`) : text,
      human: text,
      sharedRun: index,
    }),
  )
  const metrics = outputMetrics(written, 42)
  assert.deepEqual(outputMetrics(written, 42), metrics)
  for (const { name, value, low, high } of metrics)
    if (name !== 'styleDistance') assert.ok(low! <= value && value <= high!, `${name}: ${low} ${value} ${high}`)
  const copies = metrics.find(({ name }) => name === 'copyRate')!
  assert.ok(Math.abs(copies.high! - copies.low! - 2 * 1.96 * Math.sqrt((0.35 * 0.65) / 40)) < 0.08)
})
