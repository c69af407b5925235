import { TrainerServiceService } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import type { QLoRARun } from '../api/generated/qlorarun.ts'
import { keyOf, type ObjectKey } from '../controller/controller.ts'
import type { Trust } from '../trust/trust.ts'
import type { RunningPod } from '../workload/attempt-state.ts'
import { trainerPort } from '../workload/job.ts'
import { lastAttempt, type Trainer } from './decide.ts'

/** What is remembered of the pod of one run: a restart of the operator forgets it, which only gives the trainer more time. */
interface Heard {
  readonly podUid: string
  /** When this process first asked, or was last refused. */
  readonly firstAsked: Date
  readonly sequence?: number
  /** When the sequence last changed, as seen here. */
  readonly lastChange: Date
}

/** Asks trainers how far they are. An answer is never proof, and silence is never an error. */
export class TrainerClient {
  readonly #trust: Trust
  readonly #heard = new Map<ObjectKey, Heard>()

  constructor(trust: Trust) {
    this.#trust = trust
  }

  async ask(run: QLoRARun, pod: RunningPod, now: Date): Promise<Trainer> {
    const { uid: ownerUid = '' } = run.metadata
    const attempt = lastAttempt(run)?.number ?? 0
    const key = keyOf(run)
    const known = this.#heard.get(key)
    const before = known?.podUid === pod.uid ? known : { podUid: pod.uid, firstAsked: now, lastChange: now }
    this.#heard.set(key, before)
    if (!pod.ip) return { unchangedSince: unheard(run, pod, before) }
    const answer = await this.#trust
      .peer({ host: pod.ip, port: trainerPort, podUid: pod.uid, ownerUid, attempt, generation: 0 })
      .call(TrainerServiceService.getRun, { runUid: ownerUid, attempt })
    if (answer.kind === 'refused') {
      // It lives and cannot say how far it is: after a change of the signing key, or from another version.
      this.#heard.set(key, { podUid: pod.uid, firstAsked: now, lastChange: now })
      return {}
    }
    if (answer.kind === 'unreachable') return { unchangedSince: unheard(run, pod, before) }
    const { report, sequence } = answer.response
    const lastChange = sequence === before.sequence ? before.lastChange : now
    this.#heard.set(key, { ...before, sequence, lastChange })
    return { report, unchangedSince: lastChange }
  }

  /** Drops what is remembered of a run that is gone. */
  forget(key: ObjectKey): void {
    this.#heard.delete(key)
  }
}

/**
 * Since when a silent trainer must be taken for stuck. One that spoke before and stopped, or that never listened
 * although its container runs, is stuck. One that listens and was never heard may be cut off from us: not known.
 */
function unheard(run: QLoRARun, pod: RunningPod, { firstAsked, sequence, lastChange }: Heard): Date | undefined {
  if (sequence !== undefined) return lastChange
  return spokeBefore(run, pod) || !pod.ready ? firstAsked : undefined
}

/** Whether this very pod told its progress to an earlier operator: what an earlier attempt or pod told says nothing. */
function spokeBefore(run: QLoRARun, pod: RunningPod): boolean {
  const last = lastAttempt(run)
  const heard = Date.parse(run.status?.progress?.updateTime ?? '')
  return last?.podUID === pod.uid && heard > Date.parse(last.startTime) && heard > pod.since.getTime()
}
