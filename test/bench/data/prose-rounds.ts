import { readFileSync } from 'node:fs'
import { isShort } from '../settings.ts'

const prose: readonly string[] = readFileSync(new URL('../../fixtures/prose.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line).text)

/** The texts of the fixture, several times with another number at their end, so that no cache of whole texts helps. */
export const proseRounds = (): string[] =>
  Array.from({ length: isShort ? 1 : 10 }, (_, round) => prose.map((text, i) => `${text} ${round}.${i}`)).flat()
