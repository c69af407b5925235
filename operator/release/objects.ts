/** For tests: a release and the runs that it may take its adapter from. */
import type { AdapterReleaseSpec, AdapterReleaseStatus } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import type { Release, Status } from './adapter.ts'

export const digestOf = (letter: string): string => `sha256:${letter.repeat(64)}`
export const start = new Date('2026-01-01T00:00:00Z')

export function release(spec: Partial<AdapterReleaseSpec> = {}, status?: Status | AdapterReleaseStatus): Release {
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'AdapterRelease',
    metadata: { name: 'writer', namespace: 'team', uid: 'release-uid', generation: 1 },
    spec: {
      source: { run: { name: 'prose', checkpoint: 'Best' } },
      form: 'Adapter',
      serving: { port: 8000 },
      rollback: { mode: 'Automatic', to: 'Previous', windowSeconds: 1800, maxRestarts: 2, minRequests: 20 },
      pod: {},
      storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
      ...spec,
    },
    ...(status && { status: status as Status }),
  }
}

export interface RunOptions {
  readonly name?: string
  readonly uid?: string
  readonly ended?: 'True' | 'False' | 'Unknown'
  readonly baseline?: string
  readonly model?: string
  /** Claim of the base model; the run's own when absent. */
  readonly modelClaim?: string
  readonly dataset?: string
  /** Digest letter by step; a capital B in `best`. */
  readonly checkpoints?: readonly { step: number; letter: string; evalLoss?: string; best?: boolean }[]
}

const twoCheckpoints = [
  { step: 12, letter: 'a', evalLoss: '1.9' },
  { step: 24, letter: 'b', evalLoss: '1.8', best: true },
] as const

/** A run that has succeeded with checkpoint-12 (a, 1.9) and checkpoint-24 (b, 1.8, best) over a baseline of 2.0. */
export function run(options: RunOptions = {}): QLoRARun {
  const { name = 'prose', uid = `${name}-uid`, ended = 'True', model = 'm', dataset = 'd' } = options
  return {
    apiVersion: 'humanizer.dev/v1alpha1',
    kind: 'QLoRARun',
    metadata: { name, namespace: 'team', uid },
    spec: {
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true, computeDType: 'Auto' },
      baseModel: { volume: { claimName: options.modelClaim ?? 'humanizer', path: `models/${model}` } },
      storage: { claimName: 'humanizer', reclaimPolicy: 'Retain' },
    },
    status: {
      conditions: [
        { type: 'Succeeded', status: ended, reason: 'R', message: '', observedGeneration: 1, lastTransitionTime: '' },
      ],
      datasetDigest: digestOf(dataset),
      baseline: { loss: options.baseline ?? '2.0' },
      model: { path: `models/${model}`, digest: digestOf(model), name: model },
      format: { sample: 'Denoise', systemPrompt: 's', userTemplate: '{text}' },
      checkpoints: (options.checkpoints ?? twoCheckpoints).map(({ step, letter, ...rest }) => ({
        name: `checkpoint-${step}`,
        step,
        digest: digestOf(letter),
        path: `runs/team/${name}/${uid}/checkpoint-${step}`,
        ...rest,
      })),
    },
  } as unknown as QLoRARun
}
