/** Finds the commands that a document tells its reader to type. */

/** Blocks of Markdown that are indented by four or more, or fenced, without their common indentation. */
export function blocksOf(markdown: string): readonly string[] {
  const blocks: string[] = []
  let block: string[] = []
  let fenced = false
  let blank = true
  const end = (): void => {
    if (block.some((line) => line.trim() !== '')) blocks.push(unindented(block))
    block = []
  }
  for (const line of markdown.split('\n')) {
    if (/^\s*```/.test(line)) {
      end()
      fenced = !fenced
    } else if (fenced || (/^ {4}/.test(line) && (blank || block.length > 0))) block.push(line)
    else if (line.trim() !== '') end()
    blank = line.trim() === ''
  }
  end()
  return blocks
}

/** The same of the plain text that helm prints: two spaces are enough. */
export const blocksOfNotes = (notes: string): readonly string[] =>
  blocksOf(notes.replaceAll(/^ {2}(?=\S)/gm, '    ').replaceAll(/^(\S.*)$/gm, '$1\n'))

/** Commands inside a sentence, `kubectl …` for one, that have an argument beyond a subcommand's name. */
export const inlineCommands = (markdown: string): readonly string[] =>
  [...markdown.matchAll(/`((?:kubectl|helm) [^`]*[-/.][^`]*)`/g)].map(([, command]) => command!)

function unindented(lines: readonly string[]): string {
  const full = lines.filter((line) => line.trim() !== '')
  const indent = Math.min(...full.map((line) => line.search(/\S/)))
  return full.map((line) => line.slice(indent)).join('\n')
}
