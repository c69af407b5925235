/** A namespace of its own with a claim, the release controller at work in it and stand-ins for its pods. */
import { generateKeyPairSync } from 'node:crypto'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import type { QLoRARun } from '../../operator/api/generated/qlorarun.ts'
import type { ApiClient } from '../../operator/kube/client.ts'
import type { KubeObject } from '../../operator/kube/cluster.ts'
import { releaseController } from '../../operator/release/controller.ts'
import { type ApiServer, until } from './api-server.ts'
import { type OperatorHere, operatorHere } from './operator-here.ts'
import { ServingPods } from './serving-stand-in.ts'

const { privateKey } = generateKeyPairSync('ed25519')
/** What the scene's operator signs with; another that takes its place needs the same key, or it rolls the pods. */
export const signingKey = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
export const trainerImage = 'trainer:1'

export const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`

/** Condition Ready in short, such as True/Serving. */
export function readyOf(release: AdapterRelease): string {
  const ready = conditionOf(release, 'Ready')
  return `${ready?.status}/${ready?.reason}`
}

export const conditionOf = ({ status }: AdapterRelease, type: string) =>
  status?.conditions?.find((each) => each.type === type)

export class ReleaseScene {
  readonly client: ApiClient
  readonly namespace: string
  readonly pods: ServingPods
  readonly #server: ApiServer
  #operator: OperatorHere | undefined

  private constructor(server: ApiServer, namespace: string) {
    this.#server = server
    this.client = server.client()
    this.namespace = namespace
    this.pods = new ServingPods(this.client, namespace)
  }

  static async begin(server: ApiServer): Promise<ReleaseScene> {
    const scene = new ReleaseScene(server, await server.namespace())
    await scene.claim('humanizer')
    await scene.startOperator()
    return scene
  }

  async end(): Promise<void> {
    await this.stopOperator()
    await this.pods.stop()
  }

  async startOperator(): Promise<void> {
    this.#operator = await operatorHere(this.#server, this.namespace, {
      podName: `operator-${Date.now()}`,
      trainerImage,
      signingKey,
      controllers: [releaseController],
    })
  }

  async stopOperator(): Promise<void> {
    await this.#operator?.stop()
    this.#operator = undefined
  }

  path(plural: string, name = ''): string {
    return `/apis/humanizer.dev/v1alpha1/namespaces/${this.namespace}/${plural}${name && `/${name}`}`
  }

  get(name = 'writer'): Promise<AdapterRelease> {
    return this.client.request('GET', this.path('adapterreleases', name))
  }

  apply(spec: Partial<AdapterRelease['spec']>, name = 'writer'): Promise<AdapterRelease> {
    return this.client.request('PATCH', this.path('adapterreleases', name), {
      contentType: 'application/apply-patch+yaml',
      query: { fieldManager: 'test', force: true },
      body: { apiVersion: 'humanizer.dev/v1alpha1', kind: 'AdapterRelease', metadata: { name }, spec },
    })
  }

  /** Waits for Ready to be so for the newest spec; resolves the release. */
  async untilReady(want: string, { limitSeconds = 60, name = 'writer' } = {}): Promise<AdapterRelease> {
    let seen: AdapterRelease | undefined
    await until(
      `Ready ${want}`,
      async () => {
        seen = await this.get(name)
        return seen.status?.observedGeneration === seen.metadata.generation && readyOf(seen) === want
      },
      limitSeconds,
    ).catch((error) => {
      throw new Error(`${error.message}; it is ${seen && readyOf(seen)}: ${JSON.stringify(seen?.status?.conditions)}`)
    })
    return seen!
  }

  async claim(name: string): Promise<void> {
    await this.client.request('POST', `/api/v1/namespaces/${this.namespace}/persistentvolumeclaims`, {
      body: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        metadata: { name },
        spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
      },
    })
  }

  /** A run that has ended: checkpoint-12 (1.9) and checkpoint-24 (1.8, best) over a baseline of 2.0. */
  async finishedRun({
    name = 'prose',
    letters = ['a', 'b'],
    model = 'm',
    claimName = 'humanizer',
  } = {}): Promise<void> {
    await this.endedRun(
      name,
      {
        datasetDigest: digestOf('d'),
        baseline: { loss: '2.0' },
        model: { path: `models/${model}`, digest: digestOf('e'), name: model },
        checkpoints: letters.map((letter, index) => ({
          name: `checkpoint-${(index + 1) * 12}`,
          step: (index + 1) * 12,
          digest: digestOf(letter),
          path: `runs/${name}/checkpoint-${(index + 1) * 12}`,
          evalLoss: index === 0 ? '1.9' : '1.8',
          best: index === letters.length - 1,
        })),
      },
      claimName,
    )
  }

  /** A run that has succeeded and says this of itself. */
  async endedRun(name: string, says: NonNullable<QLoRARun['status']>, claimName = 'humanizer'): Promise<void> {
    const spec = {
      datasetRef: { name: 'prose' },
      baseModel: { volume: { claimName, path: 'models/m' } },
      storage: { claimName },
    }
    const created = await this.client.request<QLoRARun>('POST', this.path('qloraruns'), {
      body: { apiVersion: 'humanizer.dev/v1alpha1', kind: 'QLoRARun', metadata: { name }, spec },
    })
    const lastTransitionTime = new Date().toISOString().replace(/\.\d+/, '')
    const condition = { type: 'Succeeded', status: 'True', reason: 'Completed', message: '' } as const
    const status: QLoRARun['status'] = {
      conditions: [{ ...condition, observedGeneration: 1, lastTransitionTime }],
      format: { sample: 'Denoise', systemPrompt: 's', userTemplate: '{text}' },
      ...says,
    }
    await this.client.request('PUT', `${this.path('qloraruns', name)}/status`, { body: { ...created, status } })
  }

  async list<T extends KubeObject = KubeObject>(group: string, plural: string): Promise<T[]> {
    return (await this.client.request<{ items: T[] }>('GET', `${group}/namespaces/${this.namespace}/${plural}`)).items
  }

  deployments(): Promise<KubeObject[]> {
    return this.list('/apis/apps/v1', 'deployments')
  }

  /** resourceVersions of the release and all of its children but the pods. */
  async versions(): Promise<(string | undefined)[]> {
    const children = await Promise.all([
      this.deployments(),
      this.list('/api/v1', 'configmaps'),
      this.list('/api/v1', 'services'),
      this.list('/apis/networking.k8s.io/v1', 'networkpolicies'),
    ])
    return [await this.get(), ...children.flat()].map(({ metadata }) => metadata.resourceVersion)
  }
}
