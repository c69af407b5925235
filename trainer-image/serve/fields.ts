import { invalid } from './errors.ts'

export interface NumberRange {
  readonly minimum: number
  readonly maximum: number
  readonly integer?: boolean
}

/**
 * Reads the fields of a JSON object by name and type. An absent field and null are the same, as in OpenAI's API;
 * a wrong type or range is a 400 naming the field, and `finish` refuses fields that nobody asked for.
 */
export class Fields {
  readonly #body: Readonly<Record<string, unknown>>
  readonly #path: string
  readonly #read = new Set<string>()

  /** @param path where the object stands in the body, such as `messages[0]`; empty for the body itself */
  constructor(body: unknown, path = '') {
    if (typeof body !== 'object' || body === null || Array.isArray(body)) {
      throw invalid(path, `Invalid type for '${path || 'body'}': expected an object, got ${typeName(body)}.`)
    }
    this.#body = body as Record<string, unknown>
    this.#path = path === '' ? '' : `${path}.`
  }

  /** The value as it stands; undefined when absent or null. */
  raw(name: string): unknown {
    this.#read.add(name)
    return this.#body[name] ?? undefined
  }

  string(name: string): string | undefined {
    const value = this.raw(name)
    if (value === undefined || typeof value === 'string') return value
    throw this.wrongType(name, 'a string')
  }

  requiredString(name: string): string {
    const value = this.string(name)
    if (value === undefined) throw this.missing(name)
    return value
  }

  boolean(name: string): boolean | undefined {
    const value = this.raw(name)
    if (value === undefined || typeof value === 'boolean') return value
    throw this.wrongType(name, 'a boolean')
  }

  number(name: string, { minimum, maximum, integer = false }: NumberRange): number | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    if (typeof value !== 'number' || (integer && !Number.isInteger(value))) {
      throw this.wrongType(name, integer ? 'an integer' : 'a number')
    }
    if (value < minimum || value > maximum) {
      throw this.wrong(name, `'${this.#path}${name}' is ${value}, expected ${minimum} to ${maximum}.`)
    }
    return value
  }

  /** Fields of OpenAI's API that do not change what this server answers. */
  ignore(...names: string[]): void {
    for (const name of names) this.#read.add(name)
  }

  /** Fields that would change the answer and are not supported: refused unless absent or `harmless`. */
  refuse(name: string, harmless: (value: unknown) => boolean): void {
    const value = this.raw(name)
    if (value !== undefined && !harmless(value)) {
      throw this.wrong(name, `'${this.#path}${name}' is not supported by this server.`, 'unsupported_parameter')
    }
  }

  finish(): void {
    for (const name of Object.keys(this.#body)) {
      if (!this.#read.has(name)) {
        throw this.wrong(name, `Unrecognized request argument supplied: ${this.#path}${name}.`, 'unknown_parameter')
      }
    }
  }

  wrong(name: string, message: string, code?: string): Error {
    return invalid(`${this.#path}${name}`, message, code)
  }

  wrongType(name: string, expected: string): Error {
    const got = typeName(this.#body[name])
    return this.wrong(
      name,
      `Invalid type for '${this.#path}${name}': expected ${expected}, got ${got} instead.`,
      'invalid_type',
    )
  }

  missing(name: string): Error {
    return this.wrong(name, `Missing required parameter: '${this.#path}${name}'.`, 'missing_required_parameter')
  }
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'number' && !Number.isInteger(value) ? 'a decimal' : `a ${typeof value}`
}
