/** The user's side of a dataset and a run: minimal valid objects, and ways to send and read them. */
import type { HumanizerDataset } from '../../operator/api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../../operator/api/generated/qlorarun.ts'
import { specHash } from '../../operator/dataset/prepare-config.ts'
import type { ApiClient } from '../../operator/kube/client.ts'
import { until } from './api-server.ts'

export const apiVersion = 'humanizer.dev/v1alpha1'

export const datasetSpec = {
  sources: [{ name: 'prose', configMap: { name: 'prose', key: 'prose.jsonl' }, license: 'CC0-1.0' }],
}
export const runSpec = {
  datasetRef: { name: 'prose' },
  baseModel: { volume: { claimName: 'models', path: 'tiny.gguf' } },
}

/** One namespace of the API server, as its user sees it. */
export class User {
  readonly #client: ApiClient
  readonly #namespace: string

  constructor(client: ApiClient, namespace: string) {
    this.#client = client
    this.#namespace = namespace
  }

  #path(plural: string, name = ''): string {
    const group =
      plural === 'jobs'
        ? '/apis/batch/v1'
        : ['pods', 'configmaps', 'persistentvolumeclaims', 'events', 'resourcequotas'].includes(plural)
          ? '/api/v1'
          : `/apis/${apiVersion}`
    return `${group}/namespaces/${this.#namespace}/${plural}${name && `/${name}`}`
  }

  create(kind: 'HumanizerDataset' | 'QLoRARun', name: string, spec: object, labels = {}): Promise<unknown> {
    return this.make(`${kind.toLowerCase()}s`, { apiVersion, kind, metadata: { name, labels }, spec })
  }

  make(plural: string, body: object): Promise<unknown> {
    return this.#client.request('POST', this.#path(plural), { body })
  }

  /** The file that datasetSpec reads. */
  async makeSource(): Promise<void> {
    const body = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'prose' }, data: { 'prose.jsonl': '{}' } }
    await this.make('configmaps', body)
  }

  /** Allows no further object of `resource`, such as count/jobs.batch. Resolves once that counts. */
  async forbid(resource: string): Promise<void> {
    const hard = { [resource]: '0' }
    await this.make('resourcequotas', {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'none' },
      spec: { hard },
    })
    await until('the quota counts', async () => {
      const { status } = await this.get<{ status?: { hard?: object } }>('resourcequotas', 'none')
      return status?.hard !== undefined
    })
  }

  patch<T>(plural: string, name: string, body: object, subresource = ''): Promise<T> {
    return this.#client.request<T>('PATCH', `${this.#path(plural, name)}${subresource}`, {
      contentType: 'application/merge-patch+json',
      body,
    })
  }

  dataset(name = 'prose'): Promise<HumanizerDataset> {
    return this.#client.request('GET', this.#path('humanizerdatasets', name))
  }

  run(name = 'prose'): Promise<QLoRARun> {
    return this.#client.request('GET', this.#path('qloraruns', name))
  }

  get<T>(plural: string, name: string): Promise<T> {
    return this.#client.request('GET', this.#path(plural, name))
  }

  async list<T>(plural: string): Promise<T[]> {
    return (await this.#client.request<{ items: T[] }>('GET', this.#path(plural))).items
  }

  async delete(plural: string, name: string): Promise<void> {
    await this.#client.request('DELETE', this.#path(plural, name), {
      body: { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background' },
    })
  }

  async start(run: object = {}, labels = {}): Promise<string> {
    await this.makeSource()
    await this.create('HumanizerDataset', 'prose', datasetSpec)
    await this.create('QLoRARun', 'prose', { ...runSpec, ...run }, labels)
    return specHash((await this.dataset()).spec)
  }
}

export const readyOf = (object: HumanizerDataset | QLoRARun) =>
  object.status?.conditions?.find(({ type }) => type === 'Ready')

export const reasonOf = (object: HumanizerDataset | QLoRARun): string | undefined => readyOf(object)?.reason
