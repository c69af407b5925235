import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cleaning } from '#proto/humanizer/trainer/v1/preparation.ts'
import {
  clean,
  codePoints,
  hasMojibake,
  hasWords,
  normalForm,
  plainCharacters,
  removeEmails,
  removeUrls,
  tidyWhitespace,
} from './cleaning.ts'

const table = (name: string, apply: (text: string) => string, rows: readonly (readonly [string, string, string])[]) => {
  for (const [what, given, want] of rows)
    test(`${name}: ${what}`, () => assert.equal(tidyWhitespace(apply(given)), want))
}

table('URLs', removeUrls, [
  ['a plain address goes', 'See https://example.org/a?b=c#d for more', 'See for more'],
  ['the full stop of the sentence stays', 'Read https://example.org/page.', 'Read.'],
  ['an ellipsis and a question mark stay', 'Did you see http://a.example/b...? Yes', 'Did you see...? Yes'],
  [
    'a bracket that belongs to the address goes with it',
    'At https://en.example.org/wiki/Bee_(insect) they hum',
    'At they hum',
  ],
  ['a bracket that belongs to the sentence stays', '(as in https://x.example/y, they say)', '(as in, they say)'],
  ['brackets that held only the address go', 'The source (https://x.example/y) is old', 'The source is old'],
  ['angle brackets go', 'The source <https://x.example/y> is old', 'The source is old'],
  ['the words of a Markdown link stay', 'The [old house](https://x.example/a_(b)) fell', 'The old house fell'],
  ['an address without a scheme goes', 'Go to www.example.com/x, then rest', 'Go to, then rest'],
  ['a bare host with a path goes', 'Go to bit.ly/3xYz now', 'Go to now'],
  [
    'a missing space after a full stop is not an address',
    'It was the end.Next came winter',
    'It was the end.Next came winter',
  ],
  [
    'alternatives and dates are not addresses',
    'and/or on 1/2/1890, 24/7, w/o e.g./i.e.',
    'and/or on 1/2/1890, 24/7, w/o e.g./i.e.',
  ],
  ['a ratio with a colon stays', 'three://four is odd, 3:4 is not', 'three://four is odd, 3:4 is not'],
  ['upper case', 'HTTPS://EXAMPLE.ORG/A is loud', 'is loud'],
  ['two in a row', 'a https://x.example https://y.example b', 'a b'],
  ['quotes end it', '“https://x.example/a” she said', '“” she said'],
  ['letters beyond ASCII', 'voir https://exemple.example/été ici', 'voir ici'],
  ['a name with a dot stays', 'Node.js and Mr.Smith and U.S.A.', 'Node.js and Mr.Smith and U.S.A.'],
])

table('e-mails', removeEmails, [
  ['an address goes', 'Write to jane.doe+x@mail.example.org today', 'Write to today'],
  ['the full stop stays', 'Write to jane@example.org.', 'Write to.'],
  ['angle brackets go', 'Jane <jane@example.org> wrote', 'Jane wrote'],
  ['mailto goes', 'mailto:jane@example.org please', 'please'],
  ['a handle stays', 'thanks @jane and jane@ home', 'thanks @jane and jane@ home'],
  ['a host without a dot stays', 'root@localhost logged in', 'root@localhost logged in'],
  ['prices stay', '3 apples @ 2.50 each', '3 apples @ 2.50 each'],
  ['letters beyond ASCII', 'jürgen@müller.example grüßt', 'grüßt'],
  ['an apostrophe in the name', "o'neil@example.ie replied", 'replied'],
  ['two with a comma', 'a@x.example, b@y.example: hi', ',: hi'],
])

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
  ['many blank lines become one', 'a \n\n \n\n b', 'a\n\nb'],
])

const rules: Cleaning = { minCharacters: 10, maxCharacters: 20, minWords: 3, removeUrls: true, removeEmails: true }
const judged = [
  { text: 'is kept at exactly the shortest length', given: 'ab cd efgh', want: 'kept' },
  { text: 'is too short one below it', given: 'ab cd efg', want: 'tooShort' },
  { text: 'is kept at exactly the longest length', given: 'abcdef hijklm opqrst', want: 'kept' },
  { text: 'is too long one above it', given: 'abcdef hijklm opqrstu', want: 'tooLong' },
  { text: 'counts an emoji as one character', given: `ab cd ${'😀'.repeat(14)}`, want: 'tooFewWords' },
  { text: 'is measured after its address is removed', given: 'a b c https://example.org/long', want: 'tooShort' },
  { text: 'with too few words', given: 'abcdefgh ijkl', want: 'tooFewWords' },
  { text: 'does not count dashes as words', given: 'abcde — fghij —', want: 'tooFewWords' },
]
for (const { text, given, want } of judged)
  test(`a text ${text}`, () => {
    const got = clean(given, rules)
    assert.equal(got.kind === 'kept' ? 'kept' : got.rule, want)
  })

test('cleaning is idempotent', () => {
  const given = 'See (https://x.example/y),  or\u00a0write to\tjane@example.org .\r\n\r\n\r\nNext\u200b one.'
  const once = clean(given, { ...rules, minCharacters: 0, maxCharacters: 1000, minWords: 0 })
  const twice = clean(once.text, { ...rules, minCharacters: 0, maxCharacters: 1000, minWords: 0 })
  assert.equal(twice.text, once.text)
})

test('hostile runs of one character take linear time', () => {
  for (const run of ['a', '@', '.', '-', 'a.', '(', '[', 'www.', 'http://', '[a](', ')', ']', ' \n', '< ']) {
    const text = `http://a${run.repeat(200_000 / run.length)}`
    const start = performance.now()
    clean(text, rules)
    assert.ok(performance.now() - start < 3000, `${run} took ${performance.now() - start} ms`)
  }
})

for (const text of ['cafÃ© au lait', 'itâ€™s', 'â€œquotedâ€\u009d', '5Â°', 'naÃ¯ve', 'Ã¼ber'])
  test(`"${text}" was decoded wrongly`, () => assert.equal(hasMojibake(text), true))
for (const text of ['café', 'it’s', 'São Paulo', 'AÇÃO', 'château', 'Âge', 'â', 'über 5°', '€5'])
  test(`"${text}" is what it says`, () => assert.equal(hasMojibake(text), false))

test('code points, words and the normal form', () => {
  assert.equal(codePoints('a😀é'), 3)
  assert.deepEqual(
    [0, 3, 4].map((n) => hasWords(' one, two — 3 … ', n)),
    [true, true, false],
  )
  assert.equal(normalForm(' The  QUICK\nfox '), 'the quick fox')
})
