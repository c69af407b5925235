import type { Cleaning } from '#proto/humanizer/trainer/v1/preparation.ts'
import { nearDuplicateIndex } from '../native/dedup.ts'
import { clean, normalForm } from './cleaning.ts'
import type { FirstOfEqual } from './exact.ts'
import { Lowest, rankOf } from './sampled.ts'
import { wordsApart } from './unspaced.ts'

/** Machine-written text that the human filter set aside, or of a pair: what a humanizer is fed in real life. Never trained on. */
export interface MachineText {
  readonly id: string
  readonly source: string
  readonly text: string
}

/** Most that are kept. */
const WANTED = 256
/** So many different ones that survive cleaning are looked at, for what the search for near copies takes. */
const CLEANED = 2 * WANTED
/** So many are drawn before they are cleaned: that is enough when cleaning and equal texts leave one in two. */
const DRAWN = 2 * CLEANED

/** A sample that depends on the seed and the names of the rows alone: those whose ranks are lowest. */
export class MachineTexts {
  readonly #seed: number
  readonly #rules: Cleaning
  /** Texts as they were read. */
  #drawn = new Lowest<MachineText>(DRAWN)

  constructor(seed: number, rules: Cleaning) {
    this.#seed = seed
    this.#rules = rules
  }

  /** How many rows can be of use, and the rank from which on they are not. */
  get open(): { readonly wanted: number; readonly limit: number } {
    return { wanted: DRAWN, limit: this.#drawn.limit }
  }

  offer(id: string, source: string, text: () => string): void {
    this.#drawn.offer(rankOf(this.#seed, id), () => ({ id, source, text: this.#held(text()) }))
  }

  /** What is held must stay small: of a text this long hardly anything is left. */
  #held(raw: string): string {
    return raw.length > 4 * this.#rules.maxCharacters && clean(raw, this.#rules).kind === 'removed' ? '' : raw
  }

  /** What was drawn so far, one line each, for a new sample of the same seed and rules to go on from. */
  *lines(): Generator<string> {
    for (const { item } of this.#drawn.held) yield `${JSON.stringify(item)}\n`
  }

  restore(lines: string): void {
    this.#drawn = new Lowest(DRAWN)
    for (const line of lines.split('\n')) {
      if (line === '') continue
      const text = JSON.parse(line) as MachineText
      this.#drawn.offer(rankOf(this.#seed, text.id), () => text)
    }
  }

  /** In the order of their ranks, without near copies and without those of which a text that is trained on has the normal form. */
  async sample(trained: Pick<FirstOfEqual, 'has'>): Promise<readonly MachineText[]> {
    const texts: MachineText[] = []
    const seen = new Set<string>()
    for (const { item } of this.#drawn.held) {
      const cleaned = clean(item.text, this.#rules)
      const normal = normalForm(cleaned.text)
      if (cleaned.kind === 'removed' || normal === '' || seen.has(normal) || trained.has(normal)) continue
      seen.add(normal)
      texts.push({ ...item, text: cleaned.text })
      if (texts.length === CLEANED) break
    }
    if (texts.length === 0) return []
    const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 1 })
    await index.add(Array.from(seen, wordsApart))
    const firsts = await index.clusters()
    return texts.filter((_, i) => firsts[i] === i).slice(0, WANTED)
  }
}
