/** Releases another checkpoint and the first one again while clients keep asking. */
import { type Cluster, getJson, kubectl, waitFor } from '../kubectl.ts'
import { type Answer, type Load, lastOtherAnswer, startLoad } from '../load.ts'
import type { Checkpoint, Release } from './follow.ts'
import { say } from './say.ts'

/** Seconds since the change was sent: when the last request began that the earlier adapter answered, and when the new one first had answered. */
export interface Switched {
  readonly lastOfEarlier: number
  readonly firstOfNew: number
}
export interface Switches {
  readonly forward: Switched
  readonly back: Switched
  readonly answered: number
  readonly lost: readonly string[]
}

export async function switchThereAndBack(
  cluster: Cluster,
  namespace: string,
  release: string,
  url: string,
  [best, other]: readonly [Checkpoint, Checkpoint],
): Promise<Switches> {
  const load = startLoad(url, 2, { model: release, maxTokens: 8 })
  await waitFor('the load to be answered', 60, async () => (load.answers.length >= 4 ? true : undefined))
  const sentForward = await switchTo(cluster, namespace, release, other, load)
  say(`${other.name} serves`)
  const sentBack = await switchTo(cluster, namespace, release, best, load)
  say(`${best.name} serves again`)
  await load.stop()
  return {
    forward: switched(
      load.answers.filter(({ began }) => began < sentBack),
      sentForward,
      other,
    ),
    back: switched(load.answers, sentBack, best),
    answered: load.answers.length,
    lost: load.lost,
  }
}

function switched(answers: readonly Answer[], sent: number, { digest }: Checkpoint): Switched {
  const ofNew = answers.filter((answer) => answer.ended >= sent && answer.digest === digest)
  return {
    lastOfEarlier: lastOtherAnswer(answers, sent, digest) / 1000,
    firstOfNew: (Math.min(...ofNew.map(({ ended }) => ended)) - sent) / 1000,
  }
}

/** Resolves, once the checkpoint serves and answers, with when the change was sent: ms since the epoch. */
async function switchTo(
  cluster: Cluster,
  namespace: string,
  release: string,
  { name, digest }: Checkpoint,
  load: Load,
): Promise<number> {
  const source = { run: { name: 'prose', checkpoint: name } }
  const patch = JSON.stringify([{ op: 'replace', path: '/spec/source', value: source }])
  const sent = Date.now()
  await kubectl(cluster, ['-n', namespace, 'patch', 'arl', release, '--type=json', '-p', patch])
  await waitFor(`release ${release} to serve ${name}`, 120, async () => {
    const object = await getJson<Release>(cluster, ['-n', namespace, 'arl', release])
    return object?.status?.active?.digest === digest ? true : undefined
  })
  await load.answeredBy(digest, 60)
  return sent
}
