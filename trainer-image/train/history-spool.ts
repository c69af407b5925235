import { appendFile, mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'

type Row = Readonly<Record<string, number>> & { readonly _step: number }

/**
 * Rows of a run's history as lines of JSON in one file: one row for a step, steps only grow. What attempts before wrote is there again;
 * a resumed attempt makes some steps anew, and their rows count once.
 */
export class HistorySpool {
  readonly #path: string
  readonly #lines: string[]
  /** Of the newest line. */
  #lastStep: number
  /** The newest row, which may still get more fields. */
  #pending: Row | undefined

  private constructor(path: string, lines: string[]) {
    this.#path = path
    this.#lines = lines
    this.#lastStep = lines.length === 0 ? 0 : (JSON.parse(lines.at(-1)!) as Row)._step
  }

  static async open(path: string): Promise<HistorySpool> {
    await mkdir(dirname(path), { recursive: true })
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    })
    const lines = text.split('\n').slice(0, -1)
    // A line that a crash cut off begins anew on a line of its own, and counts for nothing.
    if (text !== '' && !text.endsWith('\n')) await appendFile(path, '\n')
    return new HistorySpool(path, lines.filter(isRow))
  }

  get lines(): readonly string[] {
    return this.#lines
  }

  async add(step: number, fields: Readonly<Record<string, number>>): Promise<void> {
    if (step < this.#lastStep) return
    if (step === this.#lastStep) return this.#addToLast(step, fields)
    if (this.#pending !== undefined && this.#pending._step !== step) await this.flush()
    this.#pending = { ...this.#pending, ...fields, _step: step }
  }

  /** After a resume at its step, whatever was not yet known of it: a line of its own, of the same step. */
  async #addToLast(step: number, fields: Readonly<Record<string, number>>): Promise<void> {
    const known = JSON.parse(this.#lines.at(-1)!) as Row
    const news = Object.entries(fields).filter(([name]) => !(name in known))
    if (news.length > 0) this.#pending = { ...this.#pending, ...Object.fromEntries(news), _step: step }
  }

  /** The newest row is whole. */
  async flush(): Promise<void> {
    const row = this.#pending
    if (row === undefined) return
    this.#pending = undefined
    this.#lastStep = row._step
    const line = JSON.stringify(row)
    this.#lines.push(line)
    await appendFile(this.#path, `${line}\n`)
  }
}

function isRow(line: string): boolean {
  try {
    return typeof (JSON.parse(line) as { _step?: unknown })._step === 'number'
  } catch {
    return false
  }
}
