/** Renders the chart with the real helm. */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { loadAll } from 'js-yaml'
import { binDir } from '../cache.ts'

export const chart = new URL('../../charts/humanizer/', import.meta.url).pathname

// biome-ignore lint/suspicious/noExplicitAny: a manifest is read here as a reader of YAML would
export type Manifest = any

const execute = promisify(execFile)

/** Runs helm; rejects with its words. */
export async function helm(...args: string[]): Promise<string> {
  try {
    const { stdout } = await execute(join(binDir, 'helm'), args, { maxBuffer: 16 << 20 })
    return stdout
  } catch (error) {
    const { stderr, message } = error as { stderr?: string; message: string }
    throw new Error(stderr || message)
  }
}

/** All objects of the chart as release `release` in namespace `system`, with these values on top of the chart's. */
export async function render(values: object = {}, release = 'humanizer'): Promise<Manifest[]> {
  const text = await helm(
    'template',
    release,
    chart,
    '--namespace',
    'system',
    '--kube-version',
    '1.35.0',
    '--set-json',
    ...flags(values),
  )
  return (loadAll(text) as Manifest[]).filter((object) => object !== null && object !== undefined)
}

/** `--set-json` takes one `key=json` per top-level key; an empty set still needs an argument. */
function flags(values: object): string[] {
  const entries = Object.entries(values)
  if (entries.length === 0) return ['global={}']
  return entries.flatMap(([key, value], index) => [
    ...(index === 0 ? [] : ['--set-json']),
    `${key}=${JSON.stringify(value)}`,
  ])
}

/** The one object of a kind, or of a kind and name. */
export function only(objects: readonly Manifest[], kind: string, name?: string): Manifest {
  const found = objects.filter((object) => object.kind === kind && (!name || object.metadata.name === name))
  if (found.length !== 1) throw new Error(`${found.length} objects of kind ${kind} ${name ?? ''}, expected one`)
  return found[0]
}

export const kinds = (all: Manifest[]): string[] => [...new Set(all.map(({ kind }) => kind))].sort()

export const rulesOf = (all: Manifest[]): Manifest[] => all.flatMap((object) => object.rules ?? [])

/** A container's variables; those of the pod's own fields are the fields' paths. */
export const environment = (of: Manifest): Record<string, string> =>
  Object.fromEntries(
    of.env.map(({ name, value, valueFrom }: Manifest) => [name, value ?? valueFrom.fieldRef.fieldPath]),
  )
