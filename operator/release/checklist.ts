import { type ChecklistItem, type ChecklistName, checked, checklistItems, open } from '../api/checklist.ts'
import type { AdapterRelease, AdapterReleaseSpec } from '../api/generated/adapterrelease.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { baseDigest, type Release, type Status } from './adapter.ts'

/** What of a release tells whether an adapter was reviewed, decided on and gone back from; as stored or as decide sees it. */
export interface Telling {
  readonly metadata: { readonly name: string }
  readonly spec: Pick<AdapterReleaseSpec, 'review'>
  readonly status?: {
    readonly history?: readonly Served[]
    readonly candidate?: { readonly digest: string }
    readonly verdict?: { readonly state: string; readonly reason?: string; readonly message?: string }
    readonly drill?: NonNullable<AdapterRelease['status']>['drill']
  }
}
type Served = Omit<NonNullable<NonNullable<AdapterRelease['status']>['active']>, 'prompt'>

/** The digests that a release decides, or decided, about. */
export const decidedAbout = ({ spec: { review }, status }: Telling): (string | undefined)[] => [
  ...(status?.history ?? []).map(({ digest }) => digest),
  status?.candidate?.digest,
  review?.approvedDigest,
  review?.rejectedDigest,
]

/** The three items that only releases can show, for the adapters of these digests. */
export function releaseItems(digests: ReadonlySet<string>, releases: readonly Telling[]): ChecklistItem[] {
  const first = (item: ChecklistName, told: (release: Telling) => Told | undefined, missing: string): ChecklistItem => {
    const all = releases.map(told).filter((each) => each !== undefined)
    const best = all.find(({ done }) => done) ?? all[0]
    return best ? checked(item, best.done, best.evidence) : open(item, missing)
  }
  return [
    first(
      'SamplesReviewed',
      (release) => reviewed(digests, release),
      'no release has an approval or a rejection of it',
    ),
    first('DeploymentDecided', (release) => decided(digests, release), 'no release has promoted or refused it'),
    first(
      'RollbackTested',
      (release) => rolledBack(digests, release),
      'no release went back from it or to it; the annotation humanizer.dev/drillRequestedAt asks for a drill',
    ),
  ]
}

interface Told {
  readonly done: boolean
  readonly evidence: string
}

const brief = (digest: string): string => `${digest.slice(0, 19)}…`
const by = (who: string | undefined): string => (who ? ` by ${who}` : '')

function reviewed(
  digests: ReadonlySet<string>,
  { metadata: { name }, spec: { review }, status }: Telling,
): Told | undefined {
  const { approvedDigest = '', rejectedDigest = '', approvedBy } = review ?? {}
  if (digests.has(approvedDigest))
    return {
      done: true,
      evidence: `${brief(approvedDigest)} was approved${by(approvedBy)}: spec.review of release ${name}`,
    }
  const before = status?.history?.find((each) => digests.has(each.digest) && each.approvedBy)
  if (before)
    return { done: true, evidence: `${before.name} was approved${by(before.approvedBy)}: history of release ${name}` }
  if (!digests.has(rejectedDigest)) return undefined
  return { done: true, evidence: `${brief(rejectedDigest)} was rejected: spec.review of release ${name}` }
}

function decided(
  digests: ReadonlySet<string>,
  { metadata: { name }, spec: { review }, status }: Telling,
): Told | undefined {
  const served = status?.history?.find(({ digest }) => digests.has(digest))
  if (served) {
    const { approvedBy, activeSinceTime, leftTime } = served
    const until = leftTime ? ` until ${leftTime}` : ''
    const who = approvedBy ? `approved by ${approvedBy}` : 'let through by its gates'
    return {
      done: true,
      evidence: `release ${name} served ${served.name} from ${activeSinceTime ?? 'then'}${until}, ${who}`,
    }
  }
  if (review?.rejectedDigest !== undefined && digests.has(review.rejectedDigest))
    return {
      done: true,
      evidence: `release ${name} rejected ${brief(review.rejectedDigest)}: spec.review.rejectedDigest`,
    }
  if (!digests.has(status?.candidate?.digest ?? baseDigest)) return undefined
  const { state, reason = '', message = '' } = status?.verdict ?? {}
  return { done: state === 'Refused', evidence: `release ${name}: ${state} ${reason} ${message}`.trim() }
}

/** A drill that lost nothing, or a real way back: by itself, by a person, or to the base. */
function rolledBack(digests: ReadonlySet<string>, { metadata: { name }, status }: Telling): Told | undefined {
  const { drill, history = [] } = status ?? {}
  const ours = history.filter(({ digest }) => digests.has(digest))
  // From one of ours, or to one: what was gone back to serves since the other left.
  const left = history.find(
    ({ digest, regressed, wentBack, leftTime }) =>
      (regressed || wentBack) &&
      (digests.has(digest) ||
        ours.some(({ activeSinceTime }) => activeSinceTime !== undefined && activeSinceTime === leftTime)),
  )
  if (left) return { done: true, evidence: `release ${name}: ${left.name} left, ${left.leftBecause ?? 'rolled back'}` }
  const base = history.find(({ digest }) => digest === baseDigest)
  const before = ours.find((each) => isEarlier(each, base))
  if (before)
    return {
      done: true,
      evidence: `release ${name} went back from ${before.name} to the base at ${base?.activeSinceTime}`,
    }
  if (!drill || ![drill.from, drill.to].some((digest) => digest !== undefined && digests.has(digest))) return undefined
  const { state, secondsThere, secondsBack, lost, message } = drill
  const done = state === 'Passed' && lost === 0
  const seconds = done ? `there in ${secondsThere} s, back in ${secondsBack} s, ${lost} requests lost` : (message ?? '')
  return { done, evidence: `release ${name}: drill of ${drill.startedTime} ${state}, ${seconds}` }
}

const isEarlier = ({ activeSinceTime }: Served, than: Served | undefined): boolean =>
  activeSinceTime !== undefined &&
  than?.activeSinceTime !== undefined &&
  Date.parse(activeSinceTime) < Date.parse(than.activeSinceTime)

/**
 * The whole checklist of the adapter that waits, or else of the one that serves. What its run can show is copied while the run is
 * there, and stays when it is gone; the base has none.
 */
export function checklistOf(release: Release, runs: readonly QLoRARun[]): Status['checklist'] {
  const { status } = release
  const digest = status?.candidate?.digest || status?.active?.digest
  if (!digest) return undefined
  const before = status?.checklist?.digest === digest ? status.checklist.items : []
  const run = runs.find((each) => each.status?.checkpoints?.some((checkpoint) => checkpoint.digest === digest))
  const own = new Map(releaseItems(new Set([digest]), [release]).map((each) => [each.item, each]))
  const items = checklistItems.map((name) => {
    const kept = before.find(({ item }) => item === name)
    const now = own.get(name) ?? run?.status?.checklist?.find(({ item }) => item === name)
    if (now && (now.done || !kept?.done)) return now
    return kept ?? open(name, 'the run that trained it is not known here')
  })
  return { digest, items }
}
