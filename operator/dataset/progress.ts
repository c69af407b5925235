import type { PreparationProgress } from '#proto/humanizer/trainer/v1/preparation.ts'
import { kubeTime } from '../kube/conditions.ts'
import { duration } from '../run/figures.ts'
import type { Status } from './decide.ts'

/** Progress is written at most this often; a change of stage at once. */
const PROGRESS_SECONDS = 10

type Shown = NonNullable<Status['progress']>

/** What stands in status.progress after a pod told `told`: what stood there, while that is fresh enough. */
export function progressAfter(
  before: Shown | undefined,
  { stage, source, rows, percent, bytes, totalBytes, remainingSeconds }: PreparationProgress,
  now: Date,
): Shown {
  const fresh = now.getTime() - Date.parse(before?.updateTime ?? '') < PROGRESS_SECONDS * 1000
  if (before && before.stage === stage && fresh) return before
  const remaining = duration(remainingSeconds)
  return {
    stage: stage.slice(0, 32),
    ...(source !== '' && { source: source.slice(0, 40) }),
    rows,
    bytes,
    ...(totalBytes > 0 && { totalBytes }),
    percent: `${Math.floor(Math.min(Math.max(percent, 0), 100))}%`,
    ...(remaining !== undefined && { remaining }),
    updateTime: kubeTime(now),
  }
}
