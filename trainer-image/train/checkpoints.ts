import { relative } from 'node:path'
import { Checkpoint, type EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { recordEvaluation, removeCheckpoint, type SealedCheckpoint } from './checkpoint.ts'
import { prunable } from './retention.ts'

/** The sealed checkpoints of a run as they are reported, and which of them stay. */
export class Checkpoints {
  readonly #dataDir: string
  readonly #keep: number
  readonly #referred: ReadonlySet<string>
  #sealed: SealedCheckpoint[]

  /** `referred`: digests that a release serves, has served or is to serve; a run that is tried again keeps them. */
  constructor(
    dataDir: string,
    sealed: readonly SealedCheckpoint[],
    keep: number,
    referred: ReadonlySet<string> = new Set(),
  ) {
    this.#dataDir = dataDir
    this.#sealed = [...sealed]
    this.#keep = keep
    this.#referred = referred
  }

  at(step: number): SealedCheckpoint | undefined {
    return this.#sealed.find((checkpoint) => checkpoint.step === step)
  }

  /** Oldest first. */
  get all(): readonly SealedCheckpoint[] {
    return this.#sealed
  }

  get newest(): SealedCheckpoint | undefined {
    return this.#sealed.at(-1)
  }

  /** Writes down what more was measured of one. */
  async record(checkpoint: SealedCheckpoint, evaluation: EvaluationResult): Promise<void> {
    const recorded = await recordEvaluation(checkpoint, evaluation)
    this.#sealed = this.#sealed.map((each) => (each === checkpoint ? recorded : each))
  }

  /** Adds a new one and removes what no rule keeps. */
  async add(checkpoint: SealedCheckpoint, bestStep: number | undefined): Promise<void> {
    this.#sealed = this.#sealed.filter(({ step }) => step !== checkpoint.step)
    this.#sealed.push(checkpoint)
    const condemned = prunable(this.#sealed, this.#keep, bestStep, this.#referred)
    this.#sealed = this.#sealed.filter((each) => !condemned.includes(each))
    for (const each of condemned) await removeCheckpoint(each)
  }

  report(bestStep: number | undefined): Checkpoint[] {
    return this.#sealed.map(({ name, step, digest, directory, evaluation }) =>
      Checkpoint.fromPartial({
        name,
        step,
        digest,
        path: relative(this.#dataDir, directory),
        ...(evaluation && { evaluation }),
        best: step === bestStep,
      }),
    )
  }
}
