import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { ReleaseReason } from '../api/release-reasons.ts'
import { findCondition } from '../kube/conditions.ts'
import { type Adapter, asProposed, baseDigest, type Release, type Resolved, served } from './adapter.ts'
import { type Checkpoint, metricsOf } from './evidence.ts'
import { pinFor } from './pins.ts'

/** What spec.source means now. waiting: it can still come; invalid: it cannot, unless the spec or the run changes. */
export type Resolution =
  | { readonly kind: 'resolved'; readonly adapter: Adapter; readonly pin?: Resolved }
  | { readonly kind: 'waiting' | 'invalid'; readonly reason: ReleaseReason; readonly message: string }

/** What a source can be found in, all of the release's namespace. Only what the spec needs must be there. */
export interface Sources {
  readonly runs: readonly QLoRARun[]
  /** The other releases: what they served lies on their claims too. */
  readonly releases: readonly Release[]
}

const waiting = (reason: ReleaseReason, message: string): Resolution => ({ kind: 'waiting', reason, message })
const invalid = (reason: ReleaseReason, message: string): Resolution => ({ kind: 'invalid', reason, message })

export function resolveSource(release: Release, sources: Sources): Resolution {
  const { run, digest } = release.spec.source
  if (run) return resolveRun(release, run, sources.runs)
  if (digest) return resolveDigest(release, digest, sources)
  return resolveBase(release)
}

/** What this release itself has served under a digest. */
export function knownHere({ status }: Release, digest: string): Adapter | undefined {
  return served(status).find((adapter) => adapter.digest === digest)
}

function resolveRun(
  release: Release,
  { name, checkpoint: wanted }: { readonly name: string; readonly checkpoint: string },
  runs: readonly QLoRARun[],
): Resolution {
  const { status } = release
  const run = runs.find(({ metadata }) => metadata.name === name)
  const pin = pinFor(status, name, wanted)
  // What once served stays what it was, whatever becomes of the run's name; before that a new run is asked anew.
  if (pin && served(status).some(({ digest }) => digest === pin.adapter.digest)) return resolvedTo(pin)
  if (!run) {
    if (pin) return resolvedTo(pin)
    const before = served(status).find((each) => each.run === name && each.checkpoint === wanted)
    if (before) return resolvedTo({ run: name, runUID: '', checkpoint: wanted, adapter: asProposed(before) })
    return waiting(
      ReleaseReason.RunNotFound,
      `spec.source.run.name: run ${name} does not exist; expected a QLoRARun of this namespace`,
    )
  }
  const elsewhere = storageMismatch(release, `run ${name}`, run)
  if (elsewhere) return elsewhere
  if (pin?.runUID === run.metadata.uid) return resolvedTo(withNewestEvidence(pin!, run))
  return resolveAnew(run, wanted)
}

function resolveAnew(run: QLoRARun, wanted: string): Resolution {
  const { name, uid: runUID = '' } = run.metadata
  const ended = findCondition(run.status?.conditions, 'Succeeded')?.status
  if (ended !== 'True' && ended !== 'False')
    return waiting(ReleaseReason.RunNotFinished, `run ${name} has not ended yet`)
  if (ended === 'False' && (wanted === 'Best' || wanted === 'Latest'))
    return invalid(ReleaseReason.RunFailed, `run ${name} failed; name one of its checkpoints, or let it succeed`)
  const checkpoints = run.status?.checkpoints ?? []
  const checkpoint = choose(checkpoints, wanted)
  if (checkpoint) return resolvedTo({ run: name, runUID, checkpoint: wanted, adapter: adapterOf(run, checkpoint) })
  const there = checkpoints.map((each) => each.name).join(', ') || 'none'
  const none = checkpoints.some(({ evalLoss }) => evalLoss !== undefined)
    ? 'and calls none the best'
    : 'none of which was evaluated'
  const why = wanted === 'Best' && checkpoints.length > 0 ? `, ${none}; name one, or Latest` : ''
  return invalid(
    ReleaseReason.CheckpointNotFound,
    `spec.source.run.checkpoint: run ${name} has no ${wanted}; it has ${there}${why}`,
  )
}

/** What is judged is what the run says now: evidence may come after the checkpoint. */
function withNewestEvidence(pin: Resolved, run: QLoRARun): Resolved {
  const checkpoint = run.status?.checkpoints?.find(({ digest }) => digest === pin.adapter.digest)
  return checkpoint ? { ...pin, adapter: { ...pin.adapter, metrics: metricsOf(run, checkpoint) } } : pin
}

const resolvedTo = (pin: Resolved): Resolution => ({ kind: 'resolved', adapter: pin.adapter, pin })

function resolveDigest(release: Release, digest: string, { runs, releases }: Sources): Resolution {
  const known = knownHere(release, digest)
  if (known) return { kind: 'resolved', adapter: asProposed(known) }
  let elsewhere: Resolution | undefined
  for (const run of runs) {
    const checkpoint = run.status?.checkpoints?.find((each) => each.digest === digest)
    if (!checkpoint) continue
    elsewhere = storageMismatch(release, `run ${run.metadata.name}`, run)
    if (!elsewhere) return { kind: 'resolved', adapter: adapterOf(run, checkpoint) }
  }
  for (const other of releases) {
    const theirs = served(other.status).find((each) => each.digest === digest)
    if (!theirs) continue
    elsewhere = storageMismatch(release, `release ${other.metadata.name}`, other)
    if (!elsewhere) return { kind: 'resolved', adapter: asProposed(theirs) }
  }
  const { candidate } = release.status ?? {}
  if (candidate?.digest === digest) return { kind: 'resolved', adapter: asProposed(candidate) }
  return (
    elsewhere ??
    invalid(
      ReleaseReason.DigestUnknown,
      `spec.source.digest: ${digest} was never served by a release of this namespace and is no checkpoint of a run in it`,
    )
  )
}

/** Pods have one claim, and an adapter and its base are read from it. */
function storageMismatch(release: Release, whose: string, { spec }: QLoRARun | Release): Resolution | undefined {
  const [ours, theirs] = [release.spec.storage.claimName, spec.storage.claimName]
  if (ours === theirs) return undefined
  return invalid(
    ReleaseReason.StorageMismatch,
    `spec.storage.claimName is ${ours}, but spec.storage.claimName of ${whose} is ${theirs}; expected the same claim`,
  )
}

function resolveBase({ status }: Release): Resolution {
  const last = status?.active ?? served(status)[0]
  if (last) return { kind: 'resolved', adapter: baseBelow(last) }
  return invalid(
    ReleaseReason.BaseUnknown,
    'spec.source.base: this release has not served an adapter yet, so its base model is unknown; name a run first',
  )
}

/** The untouched base that an adapter sits on. */
export function baseBelow(last: Adapter): Adapter {
  const { model, quantization, format, metrics } = last
  const loss = last.digest === baseDigest ? metrics?.evalLoss : metrics?.baselineLoss
  return {
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

/** Everything about a checkpoint that outlives its run. */
function adapterOf(run: QLoRARun, checkpoint: Checkpoint): Adapter {
  const { metadata, spec, status } = run
  const { model, format } = status ?? {}
  return {
    name: `${metadata.name}/${checkpoint.name}`,
    run: metadata.name,
    checkpoint: checkpoint.name,
    digest: checkpoint.digest,
    path: checkpoint.path,
    generation: 0,
    metrics: metricsOf(run, checkpoint),
    ...(model && { model: { ...model, ...ownClaim(spec) } }),
    quantization: spec.quantization,
    ...(format && { format: promptsOf(format) }),
  }
}

/** Its chat template travels in the adapter's own folder. */
const promptsOf = ({ chatTemplate: _, ...prompts }: NonNullable<NonNullable<QLoRARun['status']>['format']>) => prompts

/** Also of runs that pinned their base before the claim stood in their status. */
function ownClaim({ baseModel, storage }: QLoRARun['spec']): { claimName?: string } {
  const claimName = baseModel.volume?.claimName
  return claimName && claimName !== storage.claimName ? { claimName } : {}
}
