import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  beginning,
  codePoints,
  hasMojibake,
  isPlain,
  plainCharacters,
  tidyWhitespace,
  withoutHidden,
} from './characters.ts'

const table = (name: string, apply: (text: string) => string, rows: readonly (readonly [string, string, string])[]) => {
  for (const [what, given, want] of rows)
    test(`${name}: ${what}`, () => assert.equal(tidyWhitespace(apply(given)), want))
}

table('characters', plainCharacters, [
  ['composed', 'cafe\u0301', 'café'],
  ['NUL and bell go', 'a\u0000b\u0007c', 'abc'],
  ['zero-width space and byte order mark go', '\ufeffhu\u200bman', 'human'],
  ['soft hyphens go', 'exam\u00adple', 'example'],
  ['direction overrides go', 'a\u202eb\u202cc', 'abc'],
  ['a joiner between Latin letters goes', 'hu\u200dman\u200c', 'human'],
  ['a joiner in Persian stays', 'می\u200cخواهم', 'می\u200cخواهم'],
  ['a joiner in an emoji stays', '👩\u200d🚀', '👩\u200d🚀'],
  ['Windows, old Mac and Unicode line breaks', 'a\r\nb\rc\u2028d', 'a\nb\nc\nd'],
  ['a lone surrogate becomes the replacement character', 'a\ud800b', 'a\ufffdb'],
  ['no-break and thin spaces become spaces', 'a\u00a0\u2009b', 'a b'],
  ['nothing but composed letters', 'ﬁ stays, Å is Å', 'ﬁ stays, Å is Å'],
  ['an accent that stood behind a hidden character', 'e\u200b\u0301', 'é'],
  ['byte order marks anywhere', 'a\ufeffb\ufffec', 'abc'],
  ['every control but tab and line feed', Array.from({ length: 32 }, (_, i) => String.fromCharCode(i)).join(''), ''],
  ['controls of the C1 set', 'it\u0092s', 'its'],
  ['a joiner between consonants of Hindi stays', 'क्\u200dष', 'क्\u200dष'],
  ['a family of four stays one emoji', '👨\u200d👩\u200d👧\u200d👦', '👨\u200d👩\u200d👧\u200d👦'],
  ['a heart and a keycap keep their colour', '❤\ufe0f 1\ufe0f\u20e3', '❤\ufe0f 1\ufe0f\u20e3'],
  ['a variation of an ideograph stays', '葛\u{e0100}城', '葛\u{e0100}城'],
  ['selectors that hide data go', 'a\ufe01\ufe02\u{e0151}b 😀\ufe0f\u{e0151}\u{e0152}', 'ab 😀\ufe0f'],
  ['tags that hide ASCII go', 'ig\u{e0069}\u{e0067}nore', 'ignore'],
  [
    'the flag of Scotland stays',
    '🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}!',
    '🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}!',
  ],
  ['fillers and grapheme joiners go', 'a\u3164b\uffa0c\u034fd', 'abcd'],
  ['Thai, Arabic and Hebrew marks stay', 'น้ำ مُحَمَّد שָׁלוֹם', 'น้ำ مُحَمَّد שָׁלוֹם'],
  ['ideographic space', '東京\u3000大阪', '東京 大阪'],
  ['many blank lines become one', 'a \n\n \n\n b', 'a\n\nb'],
])

for (const text of [
  'cafÃ© au lait',
  'itâ€™s',
  'â€œquotedâ€\u009d',
  '5Â°',
  'naÃ¯ve',
  'Ã¼ber',
  'Ð¿Ñ€Ð¸Ð²ÐµÑ‚',
  'ðŸ˜€',
  'ï»¿start',
  'ï¿½',
  'it\u0092s',
  'lost \ufffd',
  'â\u0080\u0099',
])
  test(`"${text}" was decoded wrongly`, () => assert.equal(hasMojibake(text), true))
for (const text of [
  'café',
  'it’s',
  'São Paulo',
  'AÇÃO',
  'château',
  'Âge',
  'â',
  'über 5°',
  '€5',
  'Ñandú',
  'Ðuro',
  'ðað',
  'naïve',
  'Привет',
  'Łódź',
  'a\u0085b',
])
  test(`"${text}" is what it says`, () => assert.equal(hasMojibake(text), false))

test('characters are code points, also where a text is cut', () => {
  assert.equal(codePoints('a😀é'), 3)
  assert.equal(codePoints('👩\u200d🚀'), 3)
  assert.deepEqual([beginning('😀😀😀', 2), beginning('😀😀', 2)], ['😀😀…', '😀😀'])
})

test('of what counts as plain nothing is changed, and no two of it are one character', () => {
  const units = Array.from({ length: 1 << 16 }, (_, unit) => String.fromCharCode(unit))
  const plain = units.filter(isPlain)
  assert.ok(plain.length > 30_000)
  assert.equal(withoutHidden(plain.join(' ')), plain.join(' '))
  // A character that composes with the one before it is the second part of a decomposition, or a Jamo, which is not plain.
  const seconds = new Set(units.flatMap((unit) => [...unit.normalize('NFD')].slice(1)))
  assert.deepEqual(
    plain.filter((unit) => seconds.has(unit)),
    [],
  )
})
