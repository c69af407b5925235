import type { HumanizerDataset } from '../api/generated/humanizerdataset.ts'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { type SpecSource, sourcesRead } from './prepare-config.ts'

/** core/v1 ConfigMap, as far as it is read. */
export interface ConfigMap extends KubeObject {
  data?: Record<string, string>
  binaryData?: Record<string, string>
}

const NAMED_KEYS = 20

/** What the sources' ConfigMaps lack, in words; undefined when nothing is missing. A pod would only hang without a word. */
export async function missingConfigMaps(
  cluster: Cluster,
  { metadata: { namespace = '' }, spec }: HumanizerDataset,
): Promise<string | undefined> {
  const ref = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', namespace, name })
  const sources = sourcesRead(spec)
  const names = new Set(sources.flatMap(({ configMap }) => configMap?.name ?? []))
  const found = new Map(
    await Promise.all([...names].map(async (name) => [name, await cluster.get<ConfigMap>(ref(name))] as const)),
  )
  return sources.map((source) => lackOf(source, found)).find((lack) => lack !== undefined)
}

function lackOf(
  { name: source, configMap: wanted }: SpecSource,
  found: ReadonlyMap<string, ConfigMap | undefined>,
): string | undefined {
  if (!wanted) return undefined
  const { name, key } = wanted
  const configMap = found.get(name)
  if (!configMap) return `spec.sources[${source}].configMap: there is no ConfigMap ${name}`
  const keys = Object.keys({ ...configMap.data, ...configMap.binaryData }).sort()
  if (keys.includes(key)) return undefined
  const has = `${keys.slice(0, NAMED_KEYS).join(', ') || 'none'}${keys.length > NAMED_KEYS ? ', …' : ''}`
  return `spec.sources[${source}].configMap: there is no key ${key} in ConfigMap ${name}; it has ${has}`
}
