import assert from 'node:assert/strict'
import { test } from 'node:test'
import { prose } from '../../test/fixtures/sources.ts'
import { clean } from './cleaning.ts'
import { knownLanguages, languageOf } from './language.ts'

const cases = [
  ['de', 'Der Fischer fuhr am frühen Morgen hinaus auf den See und kam nicht zurück.'],
  ['fr', 'Le pêcheur partit tôt le matin sur le lac et ne revint pas.'],
  ['es', 'El pescador salió temprano por la mañana al lago y no volvió.'],
  ['ru', 'Рыбак рано утром вышел на озеро и не вернулся.'],
  ['ja', '漁師は朝早く湖に出て、帰って来なかった。'],
  ['zh', '渔夫清晨出湖，再也没有回来。'],
  ['ar', 'صياد السمك خرج في الصباح الباكر ولم يعد'],
  ['und', '12345 67890 !!!'],
] as const
for (const [language, text] of cases) test(`${language}: ${text}`, () => assert.equal(languageOf(text), language))

test('six hundred paragraphs of English prose are English', () => {
  assert.deepEqual([...new Set(prose.map(languageOf))], ['en'])
})

test('what can be told is known by its shortest name', () => {
  for (const [language] of cases) assert.equal(knownLanguages.includes(language), language !== 'und', language)
  assert.equal(knownLanguages.length, 76)
})

test('a text of another language, or of none, is set aside; without a list every language stays', () => {
  const rules = { minCharacters: 10, maxCharacters: 1000, minWords: 1, removeUrls: true, removeEmails: true }
  const judged = (text: string, languages: string[]) => {
    const cleaned = clean(text, { ...rules, languages })
    return cleaned.kind === 'kept' ? 'kept' : cleaned.rule
  }
  assert.deepEqual(
    cases.map(([, text]) => judged(text, ['de', 'ja'])),
    ['kept', ...Array(3).fill('otherLanguage'), 'kept', ...Array(3).fill('otherLanguage')],
  )
  for (const [, text] of cases) assert.equal(judged(text, []), 'kept')
})
