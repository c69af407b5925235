/** Fields of JSON files that strangers wrote: each is checked when it is read, and an error names file, field, value and expectation. */
import { readFile } from 'node:fs/promises'
import { JobFailure } from '../job/failure.ts'

export interface JsonObject {
  readonly [field: string]: unknown
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The object in a JSON file; undefined when there is no such file. */
export async function readJsonObject(path: string): Promise<JsonObject | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new JobFailure('SourceInvalid', `${path}: not JSON: ${(error as Error).message}`, { cause: error })
  }
  if (!isObject(value)) throw new JobFailure('SourceInvalid', `${path}: expected a JSON object`)
  return value
}

const isFiniteNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value)

/** Reads fields of one object; `path` is for the error messages. A field that is null counts as absent. */
export function fieldsOf(path: string, object: JsonObject) {
  const wrong = (field: string, expected: string) =>
    new JobFailure(
      'SourceInvalid',
      `${path}: ${field} is ${JSON.stringify(object[field]) ?? 'absent'}; expected ${expected}`,
    )
  const read = <T>(field: string, fallback: T | undefined, is: (value: unknown) => value is T, expected: string): T => {
    const value = object[field] ?? fallback
    if (!is(value)) throw wrong(field, expected)
    return value
  }
  return {
    wrong,
    number: (field: string, fallback?: number) => read(field, fallback, isFiniteNumber, 'a number'),
    /** A number where null has a meaning of its own. */
    numberOrNull: (field: string, absent: number, ifNull: number): number =>
      object[field] === null ? ifNull : read(field, absent, isFiniteNumber, 'a number or null'),
    boolean: (field: string, fallback?: boolean) =>
      read(field, fallback, (v): v is boolean => typeof v === 'boolean', 'true or false'),
    string: (field: string, fallback?: string) =>
      read(field, fallback, (v): v is string => typeof v === 'string', 'a string'),
    strings: (field: string, fallback?: readonly string[]) =>
      read(
        field,
        fallback,
        (v): v is readonly string[] => Array.isArray(v) && v.every((item) => typeof item === 'string'),
        'a list of strings',
      ),
    object: (field: string): JsonObject | undefined =>
      object[field] === undefined || object[field] === null ? undefined : read(field, undefined, isObject, 'an object'),
    /** One id or a list of ids, as Hugging Face writes token ids; absent is an empty list. */
    ids: (field: string): number[] => {
      const value = object[field] ?? []
      const list: unknown[] = Array.isArray(value) ? value : [value]
      if (!list.every((id): id is number => Number.isSafeInteger(id) && (id as number) >= 0))
        throw wrong(field, 'a token id or a list of token ids')
      return list
    },
  }
}

export type Fields = ReturnType<typeof fieldsOf>
