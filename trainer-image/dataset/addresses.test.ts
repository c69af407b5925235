import assert from 'node:assert/strict'
import { test } from 'node:test'
import { removeEmails, removeUrls } from './addresses.ts'
import { tidyWhitespace } from './characters.ts'
import { randomOf } from './random.ts'

const hardCases: string[] = []

const table = (name: string, apply: (text: string) => string, rows: readonly (readonly [string, string, string])[]) => {
  for (const [what, given, want] of rows) {
    hardCases.push(given)
    test(`${name}: ${what}`, () => assert.equal(tidyWhitespace(apply(given)), want))
  }
}

table('URLs', (text) => removeUrls(text), [
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
  // What is an address
  ['IPv4 with a port', 'at http://192.168.0.1:8080/x now', 'at now'],
  ['IPv6', 'at http://[2001:db8::1]:8080/x, [::1] is not one', 'at, [::1] is not one'],
  ['an international name', 'auf https://münchen.example/straße?ä=ö zu lesen', 'auf zu lesen'],
  ['an international name without a scheme', 'auf münchen.de/rathaus zu lesen', 'auf zu lesen'],
  ['punycode', 'auf xn--mnchen-3ya.de/rathaus und http://xn--bcher-kva.example', 'auf und'],
  ['a name in Cyrillic', 'сайт пример.рф/страница тут', 'сайт тут'],
  ['user, password, port, query and fragment', 'ftp://me:pw@host.example:21/a;b=c?d=e#f done', 'done'],
  ['a host with a port or a query', 'ask example.com:8080 or example.org?q=1&r=2 today', 'ask or today'],
  ['a repository', 'clone git@github.com:owner/name.git or ssh://git@host.example/x', 'clone or'],
  ['without the space before it', 'see herehttps://x.example/y there', 'see here there'],
  ['Chinese punctuation ends it', '请看https://example.com/路径。谢谢', '请看。谢谢'],
  ['brackets of East Asia', '（https://example.com/a）を見る', '（）を見る'],
  ['balanced brackets inside, one too many outside', '(see https://x.example/a_(b)_c)', '(see)'],
  ['a Markdown link with a title', 'The [old](https://x.example "so old") house', 'The old house'],
  ['a Markdown picture keeps what is said of it', '![a boat](https://x.example/b.png) lay there', 'a boat lay there'],
  ['a Markdown link in angle brackets', 'The [old](<https://x.example/ab>) house', 'The old house'],
  ['a definition of Markdown', 'A text [1].\n\n[1]: https://x.example/y "title"\nEnd', 'A text [1].\n\nEnd'],
  ['mailto in a link', 'Ask [Jane](mailto:jane@x.example?subject=hi) now', 'Ask Jane now'],
  ['emphasis around it', '**https://x.example/y** and `https://x.example` are old', 'and are old'],
  ['every closing mark of the sentence', 'Really https://x.example/y?!” he said', 'Really?!” he said'],
  // What is none
  [
    'a bare domain is a word',
    'Amazon.com and Booking.com fell, www is not',
    'Amazon.com and Booking.com fell, www is not',
  ],
  ['abbreviations', 'e.g. i.e. U.S. U.S.A. a.m. Ph.D./M.D. No.5', 'e.g. i.e. U.S. U.S.A. a.m. Ph.D./M.D. No.5'],
  ['versions and numbers', 'v1.2.3 10.0.0.1/24 3.14/2 1.000,50', 'v1.2.3 10.0.0.1/24 3.14/2 1.000,50'],
  [
    'file names',
    'README.md src/main.rs setup.sh a.tar.gz index.php C:\\dir\\x.txt /etc/hosts',
    'README.md src/main.rs setup.sh a.tar.gz index.php C:\\dir\\x.txt /etc/hosts',
  ],
  ['names with a dot', 'ASP.NET, Node.js/Express and St.Ives', 'ASP.NET, Node.js/Express and St.Ives'],
  ['a scheme alone', 'http:// and https: are schemes', 'http:// and https: are schemes'],
  ['times, ratios and emoticons', 'at 10:30, 4:3, :// :-/ he/she', 'at 10:30, 4:3, :// :-/ he/she'],
  ['a link inside the site', 'The [page](/wiki/Page) and [[Page]]', 'The [page](/wiki/Page) and [[Page]]'],
  ['references to identifiers', 'doi:10.1000/182 and ISBN 978-3-16', 'doi:10.1000/182 and ISBN 978-3-16'],
  ['a name with a dot stays', 'Node.js and Mr.Smith and U.S.A.', 'Node.js and Mr.Smith and U.S.A.'],
])

table('e-mails', (text) => removeEmails(text), [
  ['an address goes', 'Write to jane.doe+x@mail.example.org today', 'Write to today'],
  ['the full stop stays', 'Write to jane@example.org.', 'Write to.'],
  ['angle brackets go', 'Jane <jane@example.org> wrote', 'Jane wrote'],
  ['mailto goes', 'mailto:jane@example.org please', 'please'],
  ['a handle stays', 'thanks @jane and jane@ home', 'thanks @jane and jane@ home'],
  ['a host without a dot stays', 'root@localhost logged in', 'root@localhost logged in'],
  ['prices stay', '3 apples @ 2.50 each', '3 apples @ 2.50 each'],
  ['letters beyond ASCII', 'jürgen@müller.example grüßt', 'grüßt'],
  ['an apostrophe in the name', "o'neil@example.ie replied", 'replied'],
  ['mailto with a subject', 'mailto:jane@example.org?subject=a%20b please', 'please'],
  ['punycode and an international name', 'a@xn--mnchen-3ya.de, b@münchen.de', ','],
  ['a new top-level domain, and one in punycode', 'a@example.photography b@example.xn--p1ai c', 'c'],
  ['an address of IP', 'root@[192.168.0.1] and root@[IPv6:2001:db8::1] said', 'and said'],
  ['a quoted name', '"jane.doe"@example.org said', 'said'],
  ['an address of the fediverse', 'ask @jane@example.social, not @jane', 'ask, not @jane'],
  ['the possessive stays', "jane@example.org's idea", "'s idea"],
  ['spelled out in brackets', 'jane [at] example [dot] org or j.doe (at) example.org or x{at}y.example', 'or or'],
  [
    'spelled out without brackets is prose',
    'meet me at dot com, jane at example dot org',
    'meet me at dot com, jane at example dot org',
  ],
  [
    'a place in brackets is prose',
    'Jane (at) home. It rained. Look [at] this',
    'Jane (at) home. It rained. Look [at] this',
  ],
  ['scores, code and decorators', 'a[i]@b, @Override, x @ y.z, 5@$2.50', 'a[i]@b, @Override, x @ y.z, 5@$2.50'],
  ['two with a comma', 'a@x.example, b@y.example: hi', ',: hi'],
])

test('to look only where an address can be leaves what looking everywhere leaves', () => {
  const everywhere = (text: string, _: RegExp, replace: (run: string) => string): string => replace(text)
  const pieces = [
    ...'https://|httpſ://|s3://|www.|WWW.|git@|mailto:|x.example|bit.ly/|.com/|.рф/a|.xn--p1ai/|?q=1|:80|[::1]|](|]: '.split(
      '|',
    ),
    ...Array.from('@[]()<>"*`.,- \n\u00a0\u2009\ufeff\u3000\ufdd0。éaK\u212a😀'),
    ...[' [at] ', '(dot)', '\ud800', '\udc00', ...hardCases],
  ]
  const random = randomOf(1, 'addresses')
  for (let round = 0; round < 5000; round++) {
    const length = 1 + Math.floor(random() * 10)
    const text = Array.from({ length }, () => pieces[Math.floor(random() * pieces.length)]).join('')
    assert.equal(removeUrls(text), removeUrls(text, everywhere), JSON.stringify(text))
    assert.equal(removeEmails(text), removeEmails(text, everywhere), JSON.stringify(text))
  }
})
