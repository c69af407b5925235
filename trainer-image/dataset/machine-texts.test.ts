import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { csv, labelledCsv, machineText, pairedCsv, prose } from '../../test/fixtures/sources.ts'
import { hubPreparation, rowsOf, textsOf } from './preparing.ts'

const prepareFrom = hubPreparation(await freshFolders('machine-texts-'), '0123456789abcdef0123456789abcdef01234567')

test('of a thousand machine-written texts 256 are drawn by the names of their rows and the seed', async () => {
  const rows = Array.from({ length: 1300 }, (_, i) => [machineText(i), 'ai'])
  const sample = async (order: typeof rows, seed: number) => {
    const content = csv([['text', 'label'], [prose[0] as string, 'human'], ...order])
    const change = { split: { trainPercent: 95, seed } }
    const { dataDir, result } = await prepareFrom(
      'silentone0725/ai-human-text-detection-v1',
      { 'a.csv': content },
      change,
    )
    const drawn = textsOf(await rowsOf(dataDir, result.location, 'ai_inputs'), 'text')
    return drawn.map((text) => order.findIndex(([own]) => own === text))
  }
  const once = await sample(rows, 1)
  assert.equal(once.length, 256)
  assert.deepEqual(await sample(rows.toReversed(), 1), once)
  assert.notDeepEqual(await sample(rows, 2), once)
})

test('of pairs that are trained on only those of the other side are set aside for the evaluation, and none that the model was given', async () => {
  const format = { sample: 'Paired', systemPrompt: '', userTemplate: '{text}' }
  // Every tenth machine's text stands in four rows, a few of which are trained on.
  const again = [1, 2, 3].flatMap((n) =>
    Array.from({ length: 6 }, (_, i) => [
      `x${n}${i}`,
      prose[40 + 6 * n + i] as string,
      machineText(2000 + 10 * i),
      'y',
    ]),
  )
  const files = { 'a.csv': pairedCsv(0, 60) + csv(again) }
  const change = { format, split: { trainPercent: 60, seed: 4 } }
  const { dataDir, result } = await prepareFrom('dmitva/human_ai_generated_text', files, change)
  const [train, validation, aside] = await Promise.all(
    ['train', 'validation', 'ai_inputs'].map((side) => rowsOf(dataDir, result.location, side)),
  )
  const given = new Set(textsOf(train ?? [], 'input'))
  const held = new Set(textsOf(validation ?? [], 'input'))
  const wanted = [...held].filter((text) => !given.has(text))
  assert.ok(wanted.length > 10 && wanted.length < held.size)
  assert.deepEqual(textsOf(aside ?? [], 'text').sort(), wanted.sort())
})

test('a text that is labelled both ways is trained on, so it is not set aside for the evaluation', async () => {
  const files = { 'a.csv': labelledCsv(0, 10) + csv([[prose[3]?.toUpperCase() as string, 'ai']]) }
  const { dataDir, result } = await prepareFrom('silentone0725/ai-human-text-detection-v1', files)
  assert.equal((await rowsOf(dataDir, result.location, 'ai_inputs')).length, 10)
})
