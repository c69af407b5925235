import { status } from '@grpc/grpc-js'
import type { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import type { GenerateRequest, GenerateResponse } from '#proto/humanizer/trainer/v1/trainer_service.ts'
import { failureOf } from '../job/failure.ts'
import { CallRefused } from '../service/errors.ts'
import { leavingOn } from './work.ts'

/** What a caller may ask of the model and adapter between two optimizer steps. Nothing here changes what the run computes. */
export interface Desk {
  evaluate(step: number, signal: AbortSignal): Promise<EvaluationResult>
  generate(request: GenerateRequest, step: number, signal: AbortSignal): Promise<GenerateResponse>
}

const MAX_WAITING = 8

interface Waiting {
  readonly hungUp: AbortSignal
  readonly serve: (desk: Desk, step: number, signal: AbortSignal) => Promise<void>
  readonly refuse: (error: Error) => void
}

/** Calls that wait for the end of an optimizer step. The loop serves them there, one after another. */
export class BetweenSteps {
  #desk: Desk | undefined
  #waiting: Waiting[] = []
  #serving: Promise<void> = Promise.resolve()

  /** From now on calls are taken. */
  open(desk: Desk): void {
    this.#desk = desk
  }

  /** Refuses what waits and what comes; resolves when what is being served has ended. */
  async close(): Promise<void> {
    this.#desk = undefined
    for (const { refuse } of this.#waiting.splice(0)) refuse(noModel())
    await this.#serving
  }

  /** Resolves with what `work` does after the step that is being computed. */
  async ask<T>(work: (desk: Desk, step: number, signal: AbortSignal) => Promise<T>, hungUp: AbortSignal): Promise<T> {
    if (this.#desk === undefined) throw noModel()
    if (this.#waiting.length >= MAX_WAITING)
      throw new CallRefused(status.RESOURCE_EXHAUSTED, `${MAX_WAITING} calls wait for the end of this step already`)
    const asked = Promise.withResolvers<T>()
    this.#waiting.push({
      hungUp,
      serve: async (desk, step, stop) => {
        const signal = AbortSignal.any([stop, hungUp])
        await work(desk, step, signal).then(asked.resolve, (error) =>
          asked.reject(stop.aborted ? failureOf(stop.reason) : error),
        )
      },
      refuse: asked.reject,
    })
    return asked.promise
  }

  /** Does what waits; false when there was nothing. Throws only the signal's reason, at once. */
  async serve(step: number, signal: AbortSignal): Promise<boolean> {
    const desk = this.#desk
    const waiting = this.#waiting.splice(0).filter(({ hungUp }) => !hungUp.aborted)
    if (desk === undefined || waiting.length === 0) return false
    this.#serving = (async () => {
      for (const { serve } of waiting) await serve(desk, step, signal)
    })()
    await leavingOn(signal, this.#serving)
    return true
  }
}

const noModel = (): CallRefused =>
  new CallRefused(status.FAILED_PRECONDITION, 'no model is loaded: the run has not begun to train, or has ended')
