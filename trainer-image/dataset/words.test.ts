import assert from 'node:assert/strict'
import { test } from 'node:test'
import { prose } from '../../test/fixtures/sources.ts'
import { randomOf } from './random.ts'
import { hasWords, wordsByIcu, wordsOf } from './words.ts'

const cases: readonly (readonly [string, string])[] = [
  ["can't, o’neil and ‘quoted’", "can't|o’neil|and|quoted"],
  ['well-known state-of-the-art', 'well|known|state|of|the|art'],
  ['U.S. and e.g. this', 'U.S|and|e.g|this'],
  ['3.14, 1,000,000 and 10 %', '3.14|1,000,000|and|10'],
  ['snake_case _ __ v1.2.3', 'snake_case|v1.2.3'],
  ['a1b2 3a.b4 1.a', 'a1b2|3a.b4|1|a'],
  ['— … • « » ! ?', ''],
  ['cafe\u0301 naïve Ångström', 'cafe\u0301|naïve|Ångström'],
  ['one—two…three/four', 'one|two|three|four'],
  ['Привет, мир! Γειά σου', 'Привет|мир|Γειά|σου'],
  ["l'été d’hiver aujourd'hui", "l'été|d’hiver|aujourd'hui"],
  ['col·lecció', 'col·lecció'],
  ['the end.Next', 'the|end.Next'],
  ['日本語のテキスト', '日本語|の|テキスト'],
  ['สวัสดีครับ', 'สวัสดี|ครับ'],
  ['你好，世界', '你好|世界'],
  ['שלום ג׳ון', 'שלום|ג׳ון'],
  ['مرحبا بالعالم', 'مرحبا|بالعالم'],
  ['नमस्ते दुनिया', 'नमस्ते|दुनिया'],
  ['한국어 문장', '한국어|문장'],
  ['👩\u200d🚀 went 🇩🇪 1️⃣', 'went|1️⃣'],
  ['50 € 20°C', '50|20|C'],
]
for (const [text, words] of cases)
  test(`"${text}" has the words ${words}`, () => assert.deepEqual([...wordsOf(text)].join('|'), words))

test('the short way finds the very words that ICU finds', () => {
  const pieces = [
    ...Array.from('abzAZ019_:·.\'‘’,;"“”–—-…•/\\@#$%&()[]{}<>|~^`+*=!?\n\t  éÅßøœŁžςΣωДяё§°€™ªºµ½²×÷'),
    ...['\u0301', '\u0323', '\u00a0', 'fi', "'s", '1.', '.5', '...', 'Ǆ', 'ŉ', '΄', 'ʹ', '͵', '҄', '҉', '\u037e'],
  ]
  const random = randomOf(1, 'words')
  for (let round = 0; round < 20_000; round++) {
    const length = 1 + Math.floor(random() * 14)
    const text = Array.from({ length }, () => pieces[Math.floor(random() * pieces.length)]).join('')
    assert.deepEqual([...wordsOf(text)], [...wordsByIcu(text)], JSON.stringify(text))
  }
  for (const text of prose) assert.deepEqual([...wordsOf(text)], [...wordsByIcu(text)])
})

test('a text has as many words as it has, however long it is', () => {
  for (const text of ['', ' one, two — 3 … ', '日本語のテキスト です', `${'word '.repeat(40)}日本`, ' '.repeat(2000)]) {
    const count = [...wordsByIcu(text)].length
    for (const n of [0, 1, 2, 3, 4, 5, 40, 41, 42]) assert.equal(hasWords(text, n), count >= n, `${n} of ${text}`)
  }
})

test('counting ten words of a long text takes as long as of a short one', () => {
  const text = `${prose[0]} `.repeat(1000)
  const start = performance.now()
  for (let i = 0; i < 1000; i++) hasWords(text, 10)
  assert.ok(performance.now() - start < 1000)
})
