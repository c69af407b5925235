/** The frame of the reports for people: one file without scripts, fonts or addresses, to be read in any browser, also offline. */
import { difference } from './difference.ts'

export interface Page {
  readonly title: string
  /** Facts under the title, by name. */
  readonly about: Readonly<Record<string, string>>
  /** Markup, escaped already. */
  readonly body: string
  /** Rules beside the common ones. */
  readonly style: string
}

export function pageOf({ title, about, body, style }: Page): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${escaped(title)}</title>
<style>${frame}${style}</style>
<h1>${escaped(title)}</h1>
<dl>${Object.entries(about)
    .map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`)
    .join('')}</dl>
${body}
</html>
`
}

/** Text that a page shows as it is, between tags and in attributes. */
export const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')

export const list = (lines: readonly string[]): string =>
  `<ul>${lines.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul>`

const tags = { added: 'ins', removed: 'del' } as const

/** The second text with what was added to the first, and what of the first is missing, marked. */
export const marked = (before: string, after: string): string =>
  difference(before, after)
    .map(({ kind, text }) => (kind === 'same' ? escaped(text) : `<${tags[kind]}>${escaped(text)}</${tags[kind]}>`))
    .join('')

const frame = `
:root { color-scheme: light dark; --ink: light-dark(#1b1f24, #e3e7ec); --soft: light-dark(#5b6570, #9aa5b1); --line: light-dark(#d8dde3, #3a424c);
  --shade: light-dark(#f6f8fa, #20262d); --blue: light-dark(#1f6feb, #4c8ff5); --orange: light-dark(#c2410c, #f0813a);
  --good: light-dark(#1a7f37, #4ac26b); --good-shade: light-dark(#f0f8f2, #14251a); --bad: light-dark(#b42318, #f47067);
  --bad-shade: light-dark(#fdf3f2, #2d1816); --caution: light-dark(#8a6d00, #d4a72c); --caution-shade: light-dark(#fdf9ec, #292310) }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 1180px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem } dt { color: var(--soft) } dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } th, td { border: 1px solid var(--line); padding: .35rem .55rem; text-align: left; vertical-align: top }
th { background: var(--shade); font-weight: 600 } small { display: block; color: var(--soft); font-weight: 400; font-size: 12px }
.samples { table-layout: fixed } .text { white-space: pre-wrap; overflow-wrap: anywhere }
ins { background: light-dark(#d6f5dd, #1d4428); color: inherit; text-decoration: none }
del { background: light-dark(#fbdcd9, #5a2320); color: light-dark(#7a271a, #ffc9c1) }
svg { width: 100%; max-width: 760px; font-size: 11px } svg text { fill: var(--soft) } .grid { stroke: var(--line) }
.wide { overflow-x: auto } .wide svg { min-width: 44rem }
@media (max-width: 46rem) { table { display: block; overflow-x: auto } }
`
