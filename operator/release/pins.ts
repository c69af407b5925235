import { asProposed, type Resolved, type Status, served } from './adapter.ts'

type Earlier = NonNullable<Status['pins']>[number]
type Word = Pick<Earlier, 'run' | 'checkpoint'>

const sameWord = (a: Word, b: Word): boolean => a.run === b.run && a.checkpoint === b.checkpoint

/** What this word of this run was resolved to, if it ever was and that is still known. */
export function pinFor(status: Status | undefined, run: string, checkpoint: string): Resolved | undefined {
  const word = { run, checkpoint }
  const last = status?.resolved
  if (last && sameWord(last, word)) return last
  const pin = status?.pins?.find((each) => sameWord(each, word))
  const adapter = pin && served(status).find(({ digest }) => digest === pin.digest)
  return adapter && { run, runUID: pin.runUID, checkpoint, adapter: asProposed(adapter) }
}

/** The change that makes `pin` the newest; none when it is so already. What was resolved before and has served is kept. */
export function pinning(status: Status, pin: Resolved | undefined): Pick<Status, 'resolved' | 'pins'> {
  const last = status.resolved
  if (!pin) return {}
  const { run, runUID, checkpoint, adapter } = pin
  if (last && sameWord(last, pin) && last.runUID === runUID && last.adapter.digest === adapter.digest) return {}
  const others = (status.pins ?? []).filter((each) => !sameWord(each, pin) && !(last && sameWord(each, last)))
  if (last && !sameWord(last, pin)) {
    const { adapter, ...word } = last
    others.unshift({ ...word, digest: adapter.digest })
  }
  return { resolved: { run, runUID, checkpoint, adapter }, pins: others }
}
