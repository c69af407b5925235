import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { csv, prose } from '../../test/fixtures/sources.ts'
import { prepare } from './prepare.ts'
import { type Change, configOf, contextOf, rowsOf } from './preparing.ts'

const root = await mkdtemp(join(tmpdir(), 'evaluation-sets-'))
after(() => rm(root, { recursive: true, force: true }))
let files = 0
async function fileOf(content: string): Promise<string> {
  const path = join(root, `${files++}.csv`)
  await writeFile(path, content)
  return path
}
const texts = (from: readonly string[]) => csv([['text'], ...from.map((text) => [text])])
const setOf = (fields: Partial<Source>) => Source.fromPartial({ name: 'held-out', ...fields })

async function prepared(content: string, set: Partial<Source>, change: Change = {}, fields: Partial<Source> = {}) {
  const dataDir = await mkdtemp(join(root, 'data-'))
  const decontamination = { sources: [setOf(set)], ngramWords: 13 }
  const source = { filePath: await fileOf(content), ...fields }
  const result = await prepare(configOf([source], { decontamination, ...change }), contextOf(dataDir))
  const sides = await Promise.all(['train', 'validation'].map((side) => rowsOf(dataDir, result.location, side)))
  const read = (name: string) => readFile(join(dataDir, result.location, name), 'utf8')
  return { result, rows: sides.flat(), report: JSON.parse(await read('report.json')), page: await read('report.html') }
}

test('what shares a sentence with an evaluation text, or is a copy of one, is removed, counted and shown', async () => {
  const quotes = prose.slice(0, 5).map((text, i) => `${prose[100 + i]} ${text.split(' ').slice(0, 20).join(' ')}.`)
  const copies = prose.slice(5, 8).map((text) => text.toUpperCase())
  const clean = prose.slice(200, 240)
  const all = texts([...quotes, ...copies, copies[0] as string, ...clean])
  const { result, rows, report, page } = await prepared(all, {
    filePath: await fileOf(texts([...prose.slice(0, 50), 'A short one.'])),
  })
  assert.deepEqual(rows.map(({ target }) => target).sort(), clean.toSorted())
  assert.deepEqual([result.counts?.contaminated, result.counts?.exactDuplicates, result.counts?.train], [9, 0, 38])
  assert.deepEqual(report.evaluationSets, [{ name: 'held-out', revision: '', texts: 50, tooShort: 1 }])
  const shown = report.examples.filter(({ rule }: { rule: string }) => rule === 'contaminated')
  assert.equal(shown.length, 3)
  for (const { duplicateOf, excerpt } of shown) {
    assert.match(duplicateOf, /^held-out-[1-8]$/)
    assert.equal(excerpt.split(' ').length, 15)
  }
  assert.match(result.summary, /9 shared with an evaluation set/)
  assert.match(page, /<h2>Contamination<\/h2>\s*<p>9 texts were removed/)
  assert.match(
    report.warnings.join('\n'),
    /18\.4 % of the texts .* share text[\s\S]*1 evaluation texts have fewer than 8 words/,
  )
})

test('of pairs the machine’s text counts, too, on either side', async () => {
  const answer = (i: number) => Array.from({ length: 30 }, (_, at) => `answer${i}word${at}`).join(' ')
  const pairs = csv([['human', 'ai'], ...prose.slice(0, 40).map((text, i) => [text, answer(i)])])
  const columns = { textColumn: 'human', inputColumn: 'ai' }
  const format = { sample: 'Paired', systemPrompt: '', userTemplate: '{text}' }
  const set = { filePath: await fileOf(texts([answer(3)])) }
  const input = await prepared(pairs, set, { format }, columns)
  assert.equal(input.result.counts?.contaminated, 1)
  const text = await prepared(texts([...prose.slice(60, 90), answer(5)]), { filePath: await fileOf(pairs), ...columns })
  assert.equal(text.result.counts?.contaminated, 1)
})

test('an evaluation set of nothing, or of another column, stops', async () => {
  const refused = [
    {
      content: texts(['Too short.']),
      message: /held-out has no text of 8 words or more in 1 rows; is its textColumn "text"/,
    },
    { content: 'body\nx\n', message: /no column "text"; it has body/ },
  ]
  for (const { content, message } of refused)
    await assert.rejects(prepared(texts(prose), { filePath: await fileOf(content) }), {
      reason: 'SourceInvalid',
      message,
    })
  await assert.rejects(prepared(texts(prose), { name: 's0', filePath: await fileOf(texts(prose)) }), {
    reason: 'ConfigurationInvalid',
    message: /different names/,
  })
})
