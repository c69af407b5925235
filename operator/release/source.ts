import type { AdapterRelease } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import { findCondition } from '../kube/conditions.ts'
import { type Adapter, baseDigest, type Resolved, served } from './adapter.ts'

/** What spec.source means now. waiting: it can still come; invalid: it cannot, unless the spec or the run changes. */
export type Resolution =
  | { readonly kind: 'resolved'; readonly adapter: Adapter; readonly pin?: Resolved }
  | { readonly kind: 'waiting' | 'invalid'; readonly reason: ReleaseReason; readonly message: string }

type Checkpoint = NonNullable<NonNullable<QLoRARun['status']>['checkpoints']>[number]

const waiting = (reason: ReleaseReason, message: string): Resolution => ({ kind: 'waiting', reason, message })
const invalid = (reason: ReleaseReason, message: string): Resolution => ({ kind: 'invalid', reason, message })

/** `runs` are those of the release's namespace. */
export function resolveSource(release: AdapterRelease, runs: readonly QLoRARun[]): Resolution {
  const { run, digest } = release.spec.source
  if (run) return resolveRun(release, run, runs)
  if (digest) return resolveDigest(release, digest, runs)
  return resolveBase(release)
}

function resolveRun(
  { status }: AdapterRelease,
  { name, checkpoint: wanted }: { readonly name: string; readonly checkpoint: string },
  runs: readonly QLoRARun[],
): Resolution {
  const run = runs.find(({ metadata }) => metadata.name === name)
  const pin = status?.resolved
  if (pin?.run === name && pin.checkpoint === wanted) {
    // What once served stays what it was, whatever becomes of the run's name; before that a new run is asked anew.
    const hasServed = served(status).some(({ digest }) => digest === pin.adapter.digest)
    if (hasServed || !run || run.metadata.uid === pin.runUID) return { kind: 'resolved', adapter: pin.adapter }
  }
  if (!run)
    return waiting(ReleaseReason.RunNotFound, `run ${name} does not exist; expected a QLoRARun of this namespace`)
  const ended = findCondition(run.status?.conditions, 'Succeeded')?.status
  if (ended !== 'True' && ended !== 'False')
    return waiting(ReleaseReason.RunNotFinished, `run ${name} has not ended yet`)
  if (ended === 'False' && (wanted === 'Best' || wanted === 'Latest'))
    return invalid(ReleaseReason.RunFailed, `run ${name} failed; name one of its checkpoints, or let it succeed`)
  const checkpoints = run.status?.checkpoints ?? []
  const checkpoint = choose(checkpoints, wanted)
  if (!checkpoint) {
    const there = checkpoints.map((each) => each.name).join(', ') || 'none'
    return invalid(
      ReleaseReason.CheckpointNotFound,
      `spec.source.run.checkpoint: run ${name} has no ${wanted}; it has ${there}`,
    )
  }
  const adapter = adapterOf(run, checkpoint)
  return {
    kind: 'resolved',
    adapter,
    pin: { run: name, runUID: run.metadata.uid ?? '', checkpoint: wanted, adapter },
  }
}

function resolveDigest({ status }: AdapterRelease, digest: string, runs: readonly QLoRARun[]): Resolution {
  const known = [...served(status), status?.candidate].find((adapter) => adapter?.digest === digest)
  if (known) return { kind: 'resolved', adapter: asProposed(known) }
  for (const run of runs) {
    const checkpoint = run.status?.checkpoints?.find((each) => each.digest === digest)
    if (checkpoint) return { kind: 'resolved', adapter: adapterOf(run, checkpoint) }
  }
  return invalid(
    ReleaseReason.DigestUnknown,
    `spec.source.digest: ${digest} never served here and is no checkpoint of a run in this namespace`,
  )
}

function resolveBase({ status }: AdapterRelease): Resolution {
  const last = status?.active ?? served(status)[0]
  if (!last)
    return invalid(
      ReleaseReason.BaseUnknown,
      'spec.source.base: this release has not served an adapter yet, so its base model is unknown; name a run first',
    )
  const { model, quantization, format, metrics } = last
  const loss = last.digest === baseDigest ? metrics?.evalLoss : metrics?.baselineLoss
  return {
    kind: 'resolved',
    adapter: {
      name: 'base',
      digest: baseDigest,
      generation: 0,
      ...(model && { model }),
      ...(quantization && { quantization }),
      ...(format && { format }),
      ...(loss && {
        metrics: {
          evalLoss: loss,
          baselineLoss: loss,
          ...(metrics?.datasetDigest && { datasetDigest: metrics.datasetDigest }),
        },
      }),
    },
  }
}

function choose(checkpoints: readonly Checkpoint[], wanted: string): Checkpoint | undefined {
  if (wanted === 'Best') return checkpoints.find(({ best }) => best)
  if (wanted === 'Latest')
    return checkpoints.reduce<Checkpoint | undefined>(
      (last, each) => (last && last.step > each.step ? last : each),
      undefined,
    )
  return checkpoints.find(({ name }) => name === wanted)
}

/** Without the marks of an earlier switch. */
function asProposed({ activeSinceTime: _, ...adapter }: Adapter): Adapter {
  return { ...adapter, generation: 0 }
}

/** Everything about a checkpoint that outlives its run. */
function adapterOf({ metadata, spec, status }: QLoRARun, checkpoint: Checkpoint): Adapter {
  const { model, format, datasetDigest, baseline } = status ?? {}
  return {
    name: `${metadata.name}/${checkpoint.name}`,
    run: metadata.name,
    checkpoint: checkpoint.name,
    digest: checkpoint.digest,
    path: checkpoint.path,
    generation: 0,
    metrics: {
      ...(checkpoint.evalLoss !== undefined && { evalLoss: checkpoint.evalLoss }),
      ...(baseline?.loss !== undefined && { baselineLoss: baseline.loss }),
      ...(datasetDigest !== undefined && { datasetDigest }),
    },
    ...(model && { model: { ...model, ...ownClaim(spec) } }),
    quantization: { ...spec.quantization, computeDType: 'Auto' },
    ...(format && { format }),
  }
}

/** Also of runs that pinned their base before the claim stood in their status. */
function ownClaim({ baseModel, storage }: QLoRARun['spec']): { claimName?: string } {
  const claimName = baseModel.volume?.claimName
  return claimName && claimName !== storage.claimName ? { claimName } : {}
}
