import { franc } from 'franc-min'
import { data } from 'franc-min/data.js'
import { expressions } from 'franc-min/expressions.js'

/*
 * Which language a text is in, by its trigrams against those of 76 languages (franc-min, MIT; profiles from the Universal Declaration of
 * Human Rights) and, where a script has one language alone, by its script. Reads at most 2,048 characters.
 */

/** Two letters where the language has them: "en" for "eng". */
const shortest = (code: string): string => Intl.getCanonicalLocales(code)[0] ?? code

/** The language of a text, such as "en"; "und" when it cannot be told. */
export const languageOf = (text: string): string => shortest(franc(text))

/** Every language that can be told. */
export const knownLanguages: readonly string[] = [
  ...new Set(
    [
      ...Object.values(data).flatMap((languages) => Object.keys(languages)),
      ...Object.keys(expressions).filter((script) => !Object.hasOwn(data, script)),
    ].map(shortest),
  ),
].sort()
