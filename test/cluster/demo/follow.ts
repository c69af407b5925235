/** Follows the three objects until they are done, showing what their status says. */
import { type Cluster, getJson } from '../kubectl.ts'
import { progress, say } from './say.ts'

interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
}
interface Observed<Status> {
  readonly metadata: { readonly generation: number }
  readonly status?: Status & { readonly conditions?: readonly Condition[]; readonly observedGeneration?: number }
}
export type Dataset = Observed<{
  readonly location?: string
  readonly digest?: string
  readonly counts?: Readonly<Record<string, number>>
}>
export type Run = Observed<{
  readonly progress?: Readonly<Record<string, string | number>>
  readonly baseline?: Readonly<Record<string, string>>
  readonly checkpoints?: readonly {
    readonly name: string
    readonly step: number
    readonly digest: string
    readonly best?: boolean
    readonly evalLoss?: string
    readonly evalLossInterval?: string
  }[]
}>
export type Release = Observed<{
  readonly active?: { readonly digest?: string; readonly checkpoint?: string }
  readonly endpoint?: string
}>

const condition = (object: Observed<unknown> | undefined, type: string): Condition | undefined =>
  object?.status?.conditions?.find((candidate) => candidate.type === type)

/** Polls until Ready is True; a Stalled object, or one not ready in time, is an error with the object's own words. */
async function follow<T extends Observed<unknown>>(
  cluster: Cluster,
  namespace: string,
  kind: string,
  name: string,
  seconds: number,
  describe: (object: T) => string,
): Promise<T> {
  const end = Date.now() + seconds * 1000
  let shown = ''
  for (;;) {
    const object = await getJson<T>(cluster, ['-n', namespace, kind, name])
    const ready = condition(object, 'Ready')
    const stalled = condition(object, 'Stalled')
    if (object && ready) {
      const line = describe(object) || `${ready.reason}: ${ready.message}`
      if (line !== shown) progress(line)
      shown = line
      if (ready.status === 'True') return object
    }
    if (stalled?.status === 'True') throw new Error(`${kind}/${name} is stalled: ${stalled.reason}: ${stalled.message}`)
    if (Date.now() > end)
      throw new Error(`${kind}/${name} was not ready in ${seconds} s: ${ready?.reason}: ${ready?.message}`)
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}

export async function followDataset(cluster: Cluster, namespace: string, name: string): Promise<Dataset> {
  const dataset = await follow<Dataset>(cluster, namespace, 'hds', name, 300, () => '')
  say(`dataset ${dataset.status?.digest?.slice(0, 19)}…: ${JSON.stringify(dataset.status?.counts)}`)
  return dataset
}

export async function followRun(cluster: Cluster, namespace: string, name: string): Promise<Run> {
  const run = await follow<Run>(cluster, namespace, 'qlr', name, 1200, ({ status }) => {
    const seen = status?.progress
    if (!seen?.['totalSteps']) return ''
    const parts = [`${seen['phase']}`, `step ${seen['step']}/${seen['totalSteps']} (${seen['percent']})`]
    if (seen['trainLoss']) parts.push(`loss ${seen['trainLoss']}`)
    if (seen['evalLoss']) parts.push(`held-out ${seen['evalLoss']}`)
    if (seen['tokensPerSecond']) parts.push(`${seen['tokensPerSecond']} tokens/s`)
    if (seen['remaining']) parts.push(`${seen['remaining']} left`)
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
