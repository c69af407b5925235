import type { AdapterRelease, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'
import { type Adapter, desiredOf, type Release, type Status } from './adapter.ts'
import { shortHash } from './serving.ts'

/*
 * status as the API server keeps it: a prompt may have thousands of characters and is that of nearly every adapter in it,
 * so it stands there once.
 */

type StoredAdapter = NonNullable<AdapterReleaseStatus['active']>
type Prompt = NonNullable<AdapterReleaseStatus['prompts']>[number]

/** Most bytes of a status; managedFields and the spec stay below the rest of 64 KiB. */
const statusBytes = 40_960
const historyLength = 20
const pinsLength = 40

/** With its prompt in every adapter. */
export function expanded({ status, ...release }: AdapterRelease): Release {
  if (!status) return release as Release
  const { prompts = [], ...others } = status
  const byName = new Map(prompts.map(({ name, ...format }) => [name, format]))
  const full = ({ prompt = '', ...adapter }: StoredAdapter): Adapter => {
    const format = byName.get(prompt)
    return { ...adapter, ...(format && { format }) }
  }
  return { ...release, status: mapAdapters(others, full) } as Release
}

/**
 * What is written. When it would be too large, the figures of the oldest of history go, then these themselves, then all
 * prompts but that of what is to serve: what serves now is always kept.
 */
export function stored(status: Status): AdapterReleaseStatus {
  const history = status.history?.slice(0, historyLength) ?? []
  const brief = { ...status, ...(status.history && { history }) }
  for (let oldest = history.length - 1; oldest > 0 && bytesOf(withPrompts(brief)) > statusBytes; oldest--)
    history[oldest] = withoutFigures(history[oldest]!)
  while (history.length > 1 && bytesOf(withPrompts(brief)) > statusBytes) history.pop()
  const result = withPrompts(brief)
  return bytesOf(result) > statusBytes ? withPrompts(onlyDesiredPrompt(brief)) : result
}

function withoutFigures({ metrics: { figures: _, ...metrics } = {}, ...adapter }: Adapter): Adapter {
  return { ...adapter, metrics }
}

const bytesOf = (status: AdapterReleaseStatus): number => Buffer.byteLength(JSON.stringify(status))

function withPrompts({ pins = [], ...status }: Status): AdapterReleaseStatus {
  const prompts = new Map<string, Prompt>()
  const brief = ({ format, prompt: _, ...adapter }: Adapter): StoredAdapter => {
    if (!format) return adapter
    const name = shortHash(format)
    prompts.set(name, { name, ...format })
    return { ...adapter, prompt: name }
  }
  const result = mapAdapters(status, brief)
  const known = pins.filter(({ digest }) => status.history?.some((each) => each.digest === digest))
  return {
    ...result,
    ...(known.length > 0 && { pins: known.slice(0, pinsLength) }),
    ...(prompts.size > 0 && { prompts: [...prompts.values()].sort((a, b) => (a.name < b.name ? -1 : 1)) }),
  }
}

function onlyDesiredPrompt(status: Status): Status {
  const format = desiredOf(status)?.format
  const wanted = format && shortHash(format)
  return mapAdapters(status, (adapter): Adapter => {
    const { format, ...rest } = adapter
    return format && shortHash(format) === wanted ? adapter : rest
  })
}

interface Holding<A> {
  active?: A
  candidate?: A
  previous?: A
  history?: A[]
  resolved?: Omit<NonNullable<AdapterReleaseStatus['resolved']>, 'adapter'> & { readonly adapter: A }
}

/** The status with every adapter in it changed. */
function mapAdapters<A, B, S extends Holding<A>>(
  { active, candidate, previous, history, resolved, ...others }: S & Holding<A>,
  change: (adapter: A) => B,
): Omit<S, keyof Holding<A>> & Holding<B> {
  return {
    ...others,
    ...(active && { active: change(active) }),
    ...(candidate && { candidate: change(candidate) }),
    ...(previous && { previous: change(previous) }),
    ...(history && { history: history.map(change) }),
    ...(resolved && { resolved: { ...resolved, adapter: change(resolved.adapter) } }),
  }
}
