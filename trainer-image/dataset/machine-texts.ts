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

/** Most that are kept; twice as many are drawn, for what deduplication takes. */
const WANTED = 256

/** A sample that depends on the seed and the texts alone: those whose seeded sums are lowest. */
export class MachineTexts {
  readonly #seed: number
  readonly #rules: Cleaning
  readonly #drawn = new Map<string, MachineText>()
  /** Sums above it are out; lowered when twice as many as needed were drawn. */
  #limit = 'g'

  constructor(seed: number, rules: Cleaning) {
    this.#seed = seed
    this.#rules = rules
  }

  offer(id: string, source: string, raw: string): void {
    const rank = hash('md5', `${this.#seed}\0${raw}`, 'hex')
    if (rank >= this.#limit || this.#drawn.has(rank)) return
    const cleaned = clean(raw, this.#rules)
    if (cleaned.kind === 'removed') return
    this.#drawn.set(rank, { id, source, text: cleaned.text })
    if (this.#drawn.size < 4 * WANTED) return
    const ranks = [...this.#drawn.keys()].sort()
    this.#limit = ranks[2 * WANTED] as string
    for (const out of ranks.slice(2 * WANTED)) this.#drawn.delete(out)
  }

  /** In the order of their ranks, without near copies. */
  async sample(): Promise<readonly MachineText[]> {
    const texts = [...this.#drawn].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, text]) => text)
    if (texts.length === 0) return []
    const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 1 })
    await index.add(texts.map(({ text }) => normalForm(text)))
    const firsts = await index.clusters()
    return texts.filter((_, i) => firsts[i] === i).slice(0, WANTED)
  }
}
