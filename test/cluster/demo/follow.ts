/** Follows the three objects until they are done, showing what their status says. */
import { type Cluster, getJson, waitFor } from '../kubectl.ts'
import { progress, say } from './say.ts'

interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
}
interface Observed<Spec, Status> {
  readonly metadata: { readonly generation: number }
  readonly spec: Spec
  readonly status?: Status & { readonly conditions?: readonly Condition[]; readonly observedGeneration?: number }
}
export type Dataset = Observed<
  { readonly format: { readonly sample: string } },
  { readonly location?: string; readonly digest?: string; readonly counts?: Readonly<Record<string, number>> }
>
export interface Checkpoint {
  readonly name: string
  readonly step: number
  readonly digest: string
  readonly best?: boolean
  readonly evalLoss?: string
  readonly evalLossInterval?: string
  readonly metrics?: readonly {
    readonly name: string
    readonly value: string
    readonly low?: string
    readonly high?: string
  }[]
}
export type Run = Observed<
  {
    readonly training: {
      readonly maxSteps: number
      readonly microBatchSize: number
      readonly gradientAccumulation: number
      readonly maxSequenceLength: number
    }
    readonly evaluation: { readonly everySteps: number; readonly maxExamples: number }
    readonly checkpoints: { readonly everySteps: number }
  },
  {
    readonly attempts?: readonly { readonly startTime: string; readonly finishTime?: string }[]
    readonly progress?: Readonly<Record<string, string | number>>
    readonly baseline?: { readonly loss?: string; readonly lossInterval?: string; readonly unquantizedLoss?: string }
    readonly checkpoints?: readonly Checkpoint[]
    readonly diagnosis?: {
      readonly verdict: string
      readonly findings?: readonly { readonly evidence: string }[]
      readonly advice?: readonly string[]
    }
  }
>
export type Release = Observed<
  object,
  { readonly active?: { readonly digest?: string; readonly checkpoint?: string }; readonly endpoint?: string }
>

const condition = (object: Observed<unknown, unknown> | undefined, type: string): Condition | undefined =>
  object?.status?.conditions?.find((candidate) => candidate.type === type)
const words = (found: Condition | undefined): string => (found ? `${found.reason}: ${found.message}` : 'no condition')

/** Polls until Ready is True of the newest spec; a Stalled object, or one not ready in time, is an error with the object's own words. */
async function follow<T extends Observed<unknown, unknown>>(
  cluster: Cluster,
  namespace: string,
  kind: string,
  name: string,
  seconds: number,
  describe: (object: T) => string,
): Promise<T> {
  let shown = ''
  let seen: T | undefined
  const ended = await waitFor(
    `${kind}/${name} to be Ready`,
    seconds,
    async () => {
      seen = await getJson<T>(cluster, ['-n', namespace, kind, name])
      if (!seen || seen.status?.observedGeneration !== seen.metadata.generation) return undefined
      const line = describe(seen) || words(condition(seen, 'Ready'))
      if (line !== shown) progress(line)
      shown = line
      return ['Ready', 'Stalled'].some((type) => condition(seen, type)?.status === 'True') ? seen : undefined
    },
    2000,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; ${words(condition(seen, 'Ready'))}`)
  })
  const stalled = condition(ended, 'Stalled')
  if (stalled?.status === 'True') throw new Error(`${kind}/${name} is stalled: ${words(stalled)}`)
  return ended
}

export async function followDataset(cluster: Cluster, namespace: string, name: string): Promise<Dataset> {
  const dataset = await follow<Dataset>(cluster, namespace, 'hds', name, 300, () => '')
  say(`dataset ${dataset.status?.digest?.slice(0, 19)}…: ${JSON.stringify(dataset.status?.counts)}`)
  return dataset
}

/** `plan` is asked once for the words that the story begins with. */
export async function followRun(
  cluster: Cluster,
  namespace: string,
  name: string,
  plan: (run: Run) => string,
): Promise<Run> {
  let planned = false
  const run = await follow<Run>(cluster, namespace, 'qlr', name, 1200, (seen) => {
    if (!planned) say(plan(seen))
    planned = true
    const now = seen.status?.progress
    if (!now?.['totalSteps']) return ''
    const parts = [`${now['phase'] ?? 'Finished'}`, `step ${now['step']}/${now['totalSteps']} (${now['percent']})`]
    if (now['trainLoss']) parts.push(`loss ${now['trainLoss']}`)
    if (now['evalLoss']) parts.push(`held-out ${now['evalLoss']}`)
    if (now['tokensPerSecond']) parts.push(`${now['tokensPerSecond']} tokens/s`)
    if (now['remaining']) parts.push(`${now['remaining']} left`)
    return parts.join(', ')
  })
  say(
    `trained: ${run.status?.checkpoints?.map((checkpoint) => `${checkpoint.name} ${checkpoint.evalLoss}`).join(', ')}`,
  )
  return run
}

export async function followRelease(cluster: Cluster, namespace: string, name: string): Promise<Release> {
  const release = await follow<Release>(cluster, namespace, 'arl', name, 300, () => '')
  say(
    `serving ${release.status?.active?.checkpoint} (${release.status?.active?.digest?.slice(0, 19)}…) at ${release.status?.endpoint}`,
  )
  return release
}
