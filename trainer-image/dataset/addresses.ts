/*
 * What counts as an address of the web or of e-mail, and is taken out of texts. Everything of doubt is a word of the sentence and
 * stays: bare domains ("Amazon.com fell"), handles ("@jane"), file names, version numbers. docs/datasets.md has it for users.
 */

// Where an address ends: white space, quotes, angle brackets, and the punctuation of Chinese and Japanese.
const REST = String.raw`[^\s<>"“”„«»‹›。，、；：！？（）「」『』《》【】]`
// Also where the space before it is missing, as far as no word ends so.
const SCHEME = String.raw`(?:https?|ftps?|(?<![\p{L}\p{N}])(?:ssh|git|svn|wss?|file|s3|gs))`
const SCHEME_URL = new RegExp(String.raw`${SCHEME}:\/\/${REST}+`, 'giu')
const WWW_URL = new RegExp(String.raw`(?<![\p{L}\p{N}@._-])www\.[\p{L}\p{N}-]{1,63}\.${REST}+`, 'giu')
// A host without a scheme counts only with a path, a query or a port, and only under these: "example.com/page" is an address,
// "the end.Next one" and "and/or" are prose, and file names end in .md, .sh or .rs.
const TOP_LEVEL =
  'com|org|net|edu|gov|info|io|co|uk|de|fr|ly|me|tv|be|gl|eu|ch|at|nl|se|no|dk|fi|it|es|pt|pl|cz|ru|ua|jp|cn|kr|in|br|au|ca|nz|us|app|dev|ai|gg|рф|xn--[a-z0-9-]{1,59}'
const BARE_URL = new RegExp(
  String.raw`(?<![\p{L}\p{N}@._-])(?:[\p{L}\p{N}][\p{L}\p{N}-]{0,62}\.){1,4}(?:${TOP_LEVEL})(?::\d{2,5}(?:\/${REST}*)?|\/${REST}*|\?[\p{L}\p{N}_]{1,40}=${REST}*)`,
  'giu',
)
// What git calls a repository: git@host:owner/name.
const SSH_REPOSITORY = /(?<![\p{L}\p{N}@._-])git@(?:[a-z0-9-]{1,63}\.){1,4}[a-z]{2,24}:[\w./~-]{1,200}/giu
const MARKDOWN_LINK = new RegExp(
  String.raw`!?\[([^[\]\n]{0,500})\]\(\s?<?(?:${SCHEME}:\/\/|www\.|mailto:)[^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*>?(?:\s"[^"\n]{0,200}")?\s?\)`,
  'giu',
)
/** "[1]: https://…", which Markdown does not show. */
const MARKDOWN_REFERENCE = new RegExp(
  String.raw`^[ \t]{0,3}\[[^[\]\n]{1,200}\]:[ \t]*<?${SCHEME}:\/\/[^\s<>]+>?(?:[ \t]+["'(][^\n]{0,200})?$\n?`,
  'gimu',
)
const MAY_BE_URL = /:\/\/|www\.|\.[\p{L}-]{2,63}[/:?]|mailto:|git@|\.xn--/giu
const PLAIN_URLS = [SCHEME_URL, WWW_URL, SSH_REPOSITORY, BARE_URL]

/** Removes web addresses. The words of a Markdown link stay; so does the punctuation that ends the sentence. */
export function removeUrls(text: string, among: typeof inRuns = inRuns): string {
  MAY_BE_URL.lastIndex = 0
  if (!MAY_BE_URL.test(text)) return text
  let out = text
  if (out.includes('](')) out = out.replace(MARKDOWN_LINK, '$1')
  if (out.includes(']:')) out = out.replace(MARKDOWN_REFERENCE, '')
  return closeGaps(among(out, MAY_BE_URL, withoutUrls))
}

const withoutUrls = (run: string): string =>
  PLAIN_URLS.reduce((rest, pattern) => rest.replace(pattern, trailingProse), run)

// Bounded repetitions keep the search linear in the length of the text. The host is a name with a dot, or an IP address in brackets.
const EMAIL =
  /(?<![\p{L}\p{N}.!#$%&'*+/=?^_`{|}~-])(?:mailto:|@)?(?:[\p{L}\p{N}._%+'-]{1,64}|"[^"\s]{1,64}")@(?:(?:[\p{L}\p{N}][\p{L}\p{N}-]{0,62}\.){1,8}(?:\p{L}{2,24}|xn--[a-z0-9-]{1,59})(?![\p{L}\p{N}-])|\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[\da-f:.]{2,45})\])(?:(?<=mailto:[^\s?]*)\?[^\s<>"]*)?/giu
// Only with brackets: "jane [at] example [dot] org"; "meet me at dot com" is prose.
const SPELLED_OUT =
  /(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}_%+-][\p{L}\p{N}._%+-]{0,63}[ \t]?[[({<][ \t]?(?:at|@)[ \t]?[\])}>][ \t]?[\p{L}\p{N}][\p{L}\p{N}-]{0,62}(?:(?:\.|[ \t]?[[({<][ \t]?(?:dot|\.)[ \t]?[\])}>][ \t]?)[\p{L}\p{N}-]{2,63}){1,4}/giu

/** Removes e-mail addresses, also those of the fediverse ("@jane@example.social"); handles ("@jane") are prose and stay. */
export function removeEmails(text: string, among: typeof inRuns = inRuns): string {
  const spelled = /[[({<][ \t]?(?:at|@)[ \t]?[\])}>]/i.test(text)
  if (!spelled && !text.includes('@')) return text
  const plain = spelled ? text.replace(SPELLED_OUT, GAP) : text
  return closeGaps(among(plain, /@/g, withoutEmails))
}

const withoutEmails = (run: string): string => run.replace(EMAIL, GAP)

/**
 * Replaces what lies between two white spaces, wherever the sign (of flag g) stands in it. An address holds no white space and looks no
 * further than to the next, so that this is the same as looking in the whole text, and much less of it is looked at.
 */
function inRuns(text: string, sign: RegExp, replace: (run: string) => string): string {
  let out = ''
  let done = 0
  sign.lastIndex = 0
  for (let found = sign.exec(text); found !== null; found = sign.exec(text)) {
    let begin = found.index
    while (begin > done && !isSpace(text.charCodeAt(begin - 1))) begin--
    let end = sign.lastIndex
    while (end < text.length && !isSpace(text.charCodeAt(end))) end++
    out += text.slice(done, begin) + replace(text.slice(begin, end))
    done = end
    sign.lastIndex = end
  }
  return done === 0 ? text : out + text.slice(done)
}

const SPACE = /\s/
const isSpace = (unit: number): boolean =>
  unit < 0x80 ? unit === 32 || (unit >= 9 && unit <= 13) : SPACE.test(String.fromCharCode(unit))

// Marks where an address stood until the space around it is closed; a noncharacter, so no cleaned text holds it.
const GAP = '\ufdd0'

/** What follows an address in the text it stands in: sentence punctuation and a bracket that the address did not open. */
function trailingProse(url: string): string {
  const unopened = { ')': surplus(url, '(', ')'), ']': surplus(url, '[', ']') }
  let end = url.length
  for (; end > 0; end--) {
    const last = url[end - 1] as string
    if ('.,;:!?\'"*_`’”»…'.includes(last)) continue
    if ((last === ')' || last === ']') && unopened[last]-- > 0) continue
    break
  }
  return GAP + url.slice(end)
}

/** How many more closing brackets than opening ones. */
function surplus(text: string, open: string, close: string): number {
  return text.split(close).length - text.split(open).length
}

/** Of the text around a gap what closing it may take away. */
const AROUND = '*_`()<>[] \t'

/** Takes away the brackets and the emphasis that held nothing but an address, and the space an address leaves before punctuation. */
function closeGaps(text: string): string {
  let out = ''
  let done = 0
  for (let gap = text.indexOf(GAP); gap >= 0; gap = text.indexOf(GAP, done)) {
    let begin = gap
    while (begin > done && AROUND.includes(text[begin - 1] as string)) begin--
    let end = gap + 1
    while (end < text.length && (text[end] === GAP || AROUND.includes(text[end] as string))) end++
    // The next character is only looked at.
    const next = text.slice(end, end + 1)
    const closed = closeRun(text.slice(begin, end) + next)
    out += text.slice(done, begin) + closed.slice(0, closed.length - next.length)
    done = end
  }
  return done === 0 ? text : out + text.slice(done)
}

const closeRun = (run: string): string =>
  run
    .replace(/([*_`]{1,3})\ufdd0\1/g, GAP)
    .replace(/[(<[][ \t]*(?:\ufdd0[ \t]*)+[)>\]]/g, GAP)
    .replace(/[ \t]*\ufdd0[ \t]*(?=[.,;:!?)\]])/g, '')
    .replace(/(?<=[([])\ufdd0[ \t]*/g, '')
    .replace(/\ufdd0/g, '')
