import type { Architecture } from './base-model.ts'
import type {
  Adapter,
  AdapterTensor,
  Batch,
  Likelihood,
  LoraConfig,
  Model,
  MomentTensor,
  OpTime,
  OptimizerOptions,
  OptimizerState,
  SampledToken,
  Sequence,
  StepLoss,
  StepOutcome,
  TokenChoice,
} from './contract.ts'
import { type AdapterHandle, addon, type ModelHandle, type Moment, type SequenceHandle } from './engine-addon.ts'
import { NativeError, type NativeErrorCode } from './native-error.ts'
import {
  checkAdapterTensors,
  checkBatch,
  checkChoice,
  checkInteger,
  checkLora,
  checkMoments,
  checkNumber,
  checkTokens,
  invalid,
} from './validate.ts'

function typed(error: unknown): NativeError {
  const { code, message } = error as { code?: NativeErrorCode; message: string }
  return error instanceof NativeError ? error : new NativeError(code ?? 'INTERNAL', message)
}

/** Work whose failure is a NativeError. */
export async function settled<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw typed(error)
  }
}

export function now<T>(work: () => T): T {
  try {
    return work()
  } catch (error) {
    throw typed(error)
  }
}

class NativeAdapter implements Adapter {
  readonly config: LoraConfig
  readonly #model: ModelHandle
  #handle: AdapterHandle | undefined

  constructor(model: ModelHandle, handle: AdapterHandle, config: LoraConfig) {
    this.#model = model
    this.#handle = handle
    this.config = config
  }

  get handle(): AdapterHandle {
    if (!this.#handle) throw new NativeError('INVALID_ARGUMENT', 'the adapter is closed')
    return this.#handle
  }

  tensors = (): AdapterTensor[] => now(() => addon().readParameters(this.handle))
  gradients = (): AdapterTensor[] => now(() => addon().readGradients(this.#model, this.handle))
  optimizerState = () => ({ firstMoment: this.#moments('firstMoment'), secondMoment: this.#moments('secondMoment') })

  restoreOptimizer(state: OptimizerState): void {
    now(() => {
      for (const moment of ['firstMoment', 'secondMoment'] as const) checkMoments(state[moment])
      for (const moment of ['firstMoment', 'secondMoment'] as const)
        addon().writeMoments(this.handle, moment, state[moment])
    })
  }

  close(): void {
    if (this.#handle) addon().closeAdapter(this.#handle)
    this.#handle = undefined
  }

  #moments(moment: Moment): MomentTensor[] {
    return now(() => addon().readMoments(this.handle, moment))
  }
}

class NativeSequence implements Sequence {
  #handle: SequenceHandle | undefined
  length = 0

  constructor(handle: SequenceHandle) {
    this.#handle = handle
  }

  get handle(): SequenceHandle {
    if (!this.#handle) throw new NativeError('INVALID_ARGUMENT', 'the sequence is closed')
    return this.#handle
  }

  close(): void {
    if (this.#handle) addon().closeSequence(this.#handle)
    this.#handle = undefined
  }
}

export class NativeModel implements Model {
  readonly architecture: Architecture
  #handle: ModelHandle | undefined

  constructor(handle: ModelHandle, architecture: Architecture) {
    this.#handle = handle
    this.architecture = architecture
  }

  get #open(): ModelHandle {
    if (!this.#handle) throw new NativeError('INVALID_ARGUMENT', 'the model is closed')
    return this.#handle
  }

  createAdapter(config: LoraConfig): Promise<Adapter> {
    return this.#adapter(config, null)
  }

  loadAdapter(config: LoraConfig, tensors: readonly AdapterTensor[]): Promise<Adapter> {
    return this.#adapter(config, tensors)
  }

  #adapter(config: LoraConfig, tensors: readonly AdapterTensor[] | null): Promise<Adapter> {
    return settled(async () => {
      checkLora(config)
      if (tensors) checkAdapterTensors(tensors)
      const handle = await addon().createAdapter(this.#open, config, tensors)
      return new NativeAdapter(this.#open, handle, config)
    })
  }

  accumulate(adapter: Adapter, batch: Batch, step: number): Promise<StepLoss> {
    return settled(async () => {
      checkInteger('step', step, 1)
      checkBatch(batch, this.architecture)
      return await addon().accumulate(this.#open, handleOf(adapter), batch, step)
    })
  }

  optimizerStep(adapter: Adapter, options: OptimizerOptions): Promise<StepOutcome> {
    return settled(async () => {
      checkInteger('step', options.step, 1)
      checkNumber('learningRate', options.learningRate, 0)
      checkNumber('maxGradientNorm', options.maxGradientNorm, 0)
      checkNumber('weightDecay', options.weightDecay, 0)
      checkNumber('epsilon', options.epsilon, 0)
      for (const field of ['beta1', 'beta2'] as const)
        if (!(options[field] >= 0 && options[field] < 1)) throw invalid(field, options[field], 'a number in [0, 1)')
      return await addon().optimizerStep(this.#open, handleOf(adapter), options)
    })
  }

  discardGradients(adapter: Adapter): void {
    now(() => addon().discardGradients(this.#open, handleOf(adapter)))
  }

  evaluate(adapter: Adapter | undefined, batch: Batch): Promise<{ nll: Float64Array; labelTokens: Int32Array }> {
    return settled(async () => {
      checkBatch(batch, this.architecture)
      return await addon().evaluate(this.#open, adapter && handleOf(adapter), batch)
    })
  }

  likelihoods(adapter: Adapter | undefined, batch: Batch): Promise<Likelihood[]> {
    return settled(async () => {
      checkBatch(batch, this.architecture)
      return await addon().likelihoods(this.#open, adapter && handleOf(adapter), batch)
    })
  }

  openSequence(adapter: Adapter | undefined, maxTokens: number, promptTokens = 0): Sequence {
    return now(() => {
      checkInteger('maxTokens', maxTokens, 1, this.architecture.maxPositions)
      checkInteger('promptTokens', promptTokens, 0, maxTokens)
      return new NativeSequence(addon().openSequence(this.#open, adapter && handleOf(adapter), maxTokens, promptTokens))
    })
  }

  forward(items: readonly { sequence: Sequence; tokens: Int32Array }[]): Promise<Float32Array[]> {
    return this.#grown(items, (sequences, tokens) => addon().forward(this.#open, sequences, tokens))
  }

  sample(
    items: readonly { sequence: Sequence; tokens: Int32Array; choice: TokenChoice | undefined }[],
  ): Promise<(SampledToken | undefined)[]> {
    return this.#grown(items, (sequences, tokens) => {
      const choices = items.map(({ choice }) => choice)
      for (const choice of choices) if (choice) checkChoice(choice, this.architecture.vocabularySize)
      return addon().sample(this.#open, sequences, tokens, choices)
    })
  }

  #grown<T>(
    items: readonly { sequence: Sequence; tokens: Int32Array }[],
    work: (sequences: SequenceHandle[], tokens: Int32Array[]) => Promise<T[]>,
  ): Promise<T[]> {
    return settled(async () => {
      if (items.length === 0) return []
      const sequences = items.map(({ sequence }) => sequence as NativeSequence)
      if (new Set(sequences).size !== items.length) throw invalid('items', 'one sequence twice', 'each sequence once')
      for (const { tokens } of items) checkTokens('tokens', tokens, this.architecture.vocabularySize)
      const results = await work(
        sequences.map(({ handle }) => handle),
        items.map(({ tokens }) => tokens),
      )
      for (const [i, sequence] of sequences.entries()) sequence.length += items[i]!.tokens.length
      return results
    })
  }

  takeOpTimes(): OpTime[] {
    return addon().takeOpTimes(this.#open)
  }

  memory(): { residentBytes: number; peakBytes: number } {
    return addon().memory(this.#open)
  }

  cancel(): void {
    if (this.#handle) addon().cancel(this.#handle)
  }

  close(): void {
    if (this.#handle) addon().closeModel(this.#handle)
    this.#handle = undefined
  }
}

const handleOf = (adapter: Adapter): AdapterHandle => (adapter as NativeAdapter).handle
