import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cluster, KubeObject } from '../kube/cluster.ts'
import { type ConfigMap, missingConfigMaps } from './config-maps.ts'
import { base } from './world.ts'

const source = (name: string, key: string, configMap = 'texts') => ({ name, configMap: { name: configMap, key } })
const keys = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`k${String(i).padStart(2, '0')}`, '']))
const configMap = (fields: Partial<ConfigMap>): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'texts' },
  ...fields,
})

const cases: { given: string; sources: object[]; against?: object[]; there?: ConfigMap; says: string | undefined }[] = [
  {
    given: 'sources of other kinds',
    sources: [{ name: 'a', volume: { claimName: 'c', path: 'p' } }],
    says: undefined,
  },
  {
    given: 'no ConfigMap',
    sources: [source('a', 'a.csv')],
    says: 'spec.sources[a].configMap: there is no ConfigMap texts',
  },
  {
    given: 'all keys, one of them binary',
    sources: [source('a', 'a.csv'), source('b', 'b.parquet')],
    there: configMap({ data: { 'a.csv': '' }, binaryData: { 'b.parquet': '' } }),
    says: undefined,
  },
  {
    given: 'a second source without its key',
    sources: [source('a', 'a.csv'), source('b', 'c.csv')],
    there: configMap({ data: { 'b.csv': '', 'a.csv': '' } }),
    says: 'spec.sources[b].configMap: there is no key c.csv in ConfigMap texts; it has a.csv, b.csv',
  },
  {
    given: 'an empty ConfigMap',
    sources: [source('a', 'a.csv')],
    there: configMap({}),
    says: 'spec.sources[a].configMap: there is no key a.csv in ConfigMap texts; it has none',
  },
  {
    given: 'an evaluation set that is not there',
    sources: [],
    against: [source('raid', 'a.csv')],
    says: 'spec.decontamination.sources[raid].configMap: there is no ConfigMap texts',
  },
  {
    given: 'many keys',
    sources: [source('a', 'a.csv')],
    there: configMap({ data: keys }),
    says: `spec.sources[a].configMap: there is no key a.csv in ConfigMap texts; it has ${Object.keys(keys).slice(0, 20).join(', ')}, …`,
  },
]
for (const { given, sources, against, there, says } of cases)
  test(`a dataset with ${given} ${says ? 'says what is missing' : 'lacks nothing'}`, async () => {
    const asked: string[] = []
    const cluster = {
      get: async ({ name }: { name: string }): Promise<KubeObject | undefined> => {
        asked.push(name)
        return there
      },
    } as unknown as Cluster
    type Sources = typeof base.spec.sources
    const decontamination = against && { sources: against as Sources, ngramWords: 13 }
    const spec = { ...base.spec, sources: sources as Sources, ...(decontamination && { decontamination }) }
    const dataset = { ...base, spec }
    assert.equal(await missingConfigMaps(cluster, dataset), says)
    assert.equal(new Set(asked).size, asked.length)
  })
