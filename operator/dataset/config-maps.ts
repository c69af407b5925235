import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import type { SpecSource } from './prepare-config.ts'

/** core/v1 ConfigMap, as far as it is read. */
export interface ConfigMap extends KubeObject {
  data?: Record<string, string>
  binaryData?: Record<string, string>
}

const NAMED_KEYS = 20

/** A ConfigMap that a field asks for. */
interface Wanted {
  readonly field: string
  readonly name: string
  readonly key: string
}

const wantedBy = (field: string, sources: readonly SpecSource[] = []): Wanted[] =>
  sources.flatMap(({ name, configMap }) => (configMap ? [{ ...configMap, field: `${field}[${name}].configMap` }] : []))

/** What the sources' ConfigMaps lack, in words; undefined when nothing is missing. A pod would only hang without a word. */
export async function missingConfigMaps(
  cluster: Cluster,
  { metadata: { namespace = '' }, spec: { sources, decontamination } }: HumanizerDataset,
): Promise<string | undefined> {
  const ref = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name })
  const wanted = [
    ...wantedBy('spec.sources', sources),
    ...wantedBy('spec.decontamination.sources', decontamination?.sources),
  ]
  const names = new Set(wanted.map(({ name }) => name))
  const found = new Map(
    await Promise.all([...names].map(async (name) => [name, await cluster.get<ConfigMap>(ref(name))] as const)),
  )
  return wanted.map((each) => lackOf(each, found.get(each.name))).find((lack) => lack !== undefined)
}

function lackOf({ field, name, key }: Wanted, configMap: ConfigMap | undefined): string | undefined {
  if (!configMap) return `${field}: there is no ConfigMap ${name}`
  const keys = Object.keys({ ...configMap.data, ...configMap.binaryData }).sort()
  if (keys.includes(key)) return undefined
  const has = `${keys.slice(0, NAMED_KEYS).join(', ') || 'none'}${keys.length > NAMED_KEYS ? ', …' : ''}`
  return `${field}: there is no key ${key} in ConfigMap ${name}; it has ${has}`
}
