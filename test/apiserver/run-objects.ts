/** The user's side of a dataset and a run: minimal valid objects, and ways to send and read them. */
import type { HumanizerDataset } from '../../operator/api/generated/humanizerdataset.ts'
import type { QLoRARun } from '../../operator/api/generated/qlorarun.ts'
import { specHash } from '../../operator/dataset/prepare-config.ts'
import type { ApiClient } from '../../operator/kube/client.ts'

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
        : ['pods', 'configmaps', 'persistentvolumeclaims', 'events'].includes(plural)
          ? '/api/v1'
          : `/apis/${apiVersion}`
    return `${group}/namespaces/${this.#namespace}/${plural}${name && `/${name}`}`
  }

  create(kind: 'HumanizerDataset' | 'QLoRARun', name: string, spec: object): Promise<unknown> {
    return this.#client.request('POST', this.#path(`${kind.toLowerCase()}s`), {
      body: { apiVersion, kind, metadata: { name }, spec },
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

  async start(run: object = {}): Promise<string> {
    await this.create('HumanizerDataset', 'prose', datasetSpec)
    await this.create('QLoRARun', 'prose', { ...runSpec, ...run })
    return specHash((await this.dataset()).spec)
  }
}

export const reasonOf = (object: HumanizerDataset | QLoRARun): string | undefined =>
  object.status?.conditions?.find(({ type }) => type === 'Ready')?.reason
