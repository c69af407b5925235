import { GramIndex, Integers } from './gram-index.ts'
import { wordsOf } from './words.ts'

/*
 * A text is contaminated when it shares a run of words with an evaluation text, or is a near duplicate of one. Thirteen words are the
 * convention of GPT-3 (Brown et al. 2020, arXiv:2005.14165, appendix C), which lower-cases, drops punctuation and takes shorter runs,
 * down to 8 words, where the evaluation texts are shorter; EleutherAI's harness follows it. Llama 2 (Touvron et al. 2023,
 * arXiv:2307.09288, appendix A.6) counts matches of more than 10 tokens. Here the whole text goes, not a window around the match.
 */

/** Shorter evaluation texts are found in half of all prose; they are left out, and counted. */
const FEWEST_WORDS = 8
/** Words of one shingle, as deduplication has them by default. */
const SHINGLE = 5
/** What fits beside everything else: about 250 bytes for each word. */
const MOST_WORDS = 4_000_000

/** Why a text was removed. */
export interface Overlap {
  /** The evaluation text. */
  readonly id: string
  /** The words that both have, lower-cased; of a near duplicate its beginning. */
  readonly run: string
  readonly kind: 'run' | 'nearDuplicate'
}

/** The evaluation sets, in memory, and the search for what they share with a text. */
export class EvaluationTexts {
  /** Those that are too short to be looked for. */
  tooShort = 0
  readonly #ids: string[] = []
  readonly #ngramWords: number
  readonly #nearThreshold: number
  readonly #vocabulary = new Map<string, number>()
  readonly #spelling: string[] = []
  readonly #words = new Integers()
  /** By the number of words of a run: the longest one, and those of shorter texts, whole. */
  readonly #runs = new Map<number, GramIndex>()
  readonly #shingles: GramIndex
  /** By text: how many different shingles it has. */
  readonly #sizes: number[] = []

  /** `nearThreshold` 0: near duplicates are not looked for. */
  constructor(ngramWords: number, nearThreshold: number) {
    this.#ngramWords = ngramWords
    this.#nearThreshold = nearThreshold
    this.#shingles = new GramIndex(SHINGLE, this.#words)
  }

  get count(): number {
    return this.#ids.length
  }

  get words(): number {
    return this.#words.length
  }

  /** Whether there is no room for more. */
  get full(): boolean {
    return this.#words.length >= MOST_WORDS
  }

  add(id: string, text: string): void {
    const begin = this.#words.length
    const words = [...wordsOf(text.toLowerCase())]
    if (words.length < Math.min(FEWEST_WORDS, this.#ngramWords)) {
      this.tooShort++
      return
    }
    for (const word of words) this.#words.push(this.#numberOf(word))
    const number = this.#ids.push(id) - 1
    const n = Math.min(this.#ngramWords, words.length)
    const runs = this.#runs.get(n) ?? new GramIndex(n, this.#words)
    this.#runs.set(n, runs)
    for (let at = begin; at + n <= this.#words.length; at++) runs.add(at, number)
    this.#sizes.push(0)
    for (let at = begin; at + SHINGLE <= this.#words.length; at++)
      if (this.#shingles.add(at, number)) this.#sizes[number] = (this.#sizes[number] ?? 0) + 1
  }

  #numberOf(word: string): number {
    const known = this.#vocabulary.get(word)
    if (known !== undefined) return known
    this.#vocabulary.set(word, this.#spelling.length)
    return this.#spelling.push(word) - 1
  }

  /** What a text shares with the evaluation sets; the longest kind of run first, and of it the first in the text. */
  overlap(text: string): Overlap | undefined {
    if (this.#ids.length === 0) return undefined
    const words = new Integers()
    for (const word of wordsOf(text.toLowerCase())) words.push(this.#vocabulary.get(word) ?? -1)
    return this.#sharedRun(words) ?? this.#nearDuplicate(words)
  }

  #sharedRun(words: Integers): Overlap | undefined {
    for (const [n, runs] of [...this.#runs].sort(([a], [b]) => b - a)) {
      // A word that no evaluation text has ends every run.
      for (let end = 0, known = 0; end < words.length; end++) {
        known = words.at(end) < 0 ? 0 : known + 1
        if (known < n) continue
        for (const { text, begin } of runs.find(words, end + 1 - n))
          return { id: this.#ids[text] ?? '', run: this.#spelled(begin, n), kind: 'run' }
      }
    }
    return undefined
  }

  #nearDuplicate(words: Integers): Overlap | undefined {
    if (this.#nearThreshold === 0) return undefined
    const shared = new Map<number, number>()
    const own = new GramIndex(SHINGLE, words)
    let size = 0
    for (let at = 0; at + SHINGLE <= words.length; at++) {
      if (!own.add(at, 0)) continue
      size++
      for (const { text } of this.#shingles.find(words, at)) shared.set(text, (shared.get(text) ?? 0) + 1)
    }
    for (const [text, count] of shared)
      if (count / (size + (this.#sizes[text] ?? 0) - count) > this.#nearThreshold)
        return { id: this.#ids[text] ?? '', run: this.#spelledText(words), kind: 'nearDuplicate' }
    return undefined
  }

  #spelled(begin: number, count: number): string {
    return Array.from({ length: count }, (_, i) => this.#spelling[this.#words.at(begin + i)]).join(' ')
  }

  #spelledText(words: Integers): string {
    const count = Math.min(words.length, this.#ngramWords)
    return Array.from({ length: count }, (_, i) => this.#spelling[words.at(i)] ?? '…').join(' ')
  }
}
