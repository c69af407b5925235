import { hash } from 'node:crypto'
import type { Cleaning } from '#proto/humanizer/trainer/v1/preparation.ts'
import { nearDuplicateIndex } from '../native/dedup.ts'
import { clean, normalForm } from './cleaning.ts'

/** Machine-written text that the human filter set aside: what a humanizer is fed in real life. Never trained on. */
export interface MachineText {
  readonly id: string
  readonly source: string
  readonly text: string
}

/** Most that are kept. */
const WANTED = 256
/** So many of those that survive cleaning are looked at, for what deduplication takes. */
const CLEANED = 2 * WANTED
/** So many are drawn before they are cleaned: that is enough when cleaning leaves one in eight. */
const DRAWN = 8 * CLEANED

/** A sample that depends on the seed and the texts alone: those whose seeded sums are lowest. */
export class MachineTexts {
  readonly #seed: number
  readonly #rules: Cleaning
  /** By rank; texts as they were read. */
  readonly #drawn = new Map<string, MachineText>()
  /** Sums from it on are out; lowered when twice as many as needed were drawn. */
  #limit = 'g'

  constructor(seed: number, rules: Cleaning) {
    this.#seed = seed
    this.#rules = rules
  }

  /** What stands before a text in the sum that it is ranked by. */
  get prefix(): string {
    return `${this.#seed}\0`
  }

  /** `rank`: the sum of prefix and text, if it is known. */
  offer(id: string, source: string, text: () => string, rank = hash('md5', this.prefix + text(), 'hex')): void {
    if (rank >= this.#limit || this.#drawn.has(rank)) return
    const raw = text()
    // What is held must stay small, and of a text this long hardly anything is left.
    if (raw.length > 4 * this.#rules.maxCharacters && clean(raw, this.#rules).kind === 'removed') return
    this.#drawn.set(rank, { id, source, text: raw })
    if (this.#drawn.size < 2 * DRAWN) return
    const ranks = [...this.#drawn.keys()].sort()
    this.#limit = ranks[DRAWN] as string
    for (const out of ranks.slice(DRAWN)) this.#drawn.delete(out)
  }

  /** What was drawn so far, one line each, for a new sample of the same seed and rules to go on from. */
  *lines(): Generator<string> {
    yield `${JSON.stringify(this.#limit)}\n`
    for (const drawn of this.#drawn) yield `${JSON.stringify(drawn)}\n`
  }

  restore(lines: string): void {
    const [limit = '', ...drawn] = lines.trimEnd().split('\n')
    this.#limit = JSON.parse(limit) as string
    this.#drawn.clear()
    for (const line of drawn) {
      const [rank, text] = JSON.parse(line) as [string, MachineText]
      this.#drawn.set(rank, text)
    }
  }

  /** In the order of their ranks, without near copies. */
  async sample(): Promise<readonly MachineText[]> {
    const texts: MachineText[] = []
    for (const rank of [...this.#drawn.keys()].sort()) {
      const drawn = this.#drawn.get(rank) as MachineText
      const cleaned = clean(drawn.text, this.#rules)
      if (cleaned.kind === 'kept') texts.push({ ...drawn, text: cleaned.text })
      if (texts.length === CLEANED) break
    }
    if (texts.length === 0) return []
    const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 1 })
    await index.add(texts.map(({ text }) => normalForm(text)))
    const firsts = await index.clusters()
    return texts.filter((_, i) => firsts[i] === i).slice(0, WANTED)
  }
}
