import { loadAddon } from './addon.ts'
import type { Architecture, Nf4Tensor, TensorSource } from './base-model.ts'
import type { ComputePath, DeviceMemory, EngineInfo, GpuReadings } from './compute-path.ts'
import type {
  ActivationCheckpointing,
  AdapterTensor,
  Batch,
  Likelihood,
  LoraConfig,
  MomentTensor,
  OpTime,
  OptimizerOptions,
  SampledToken,
  StepLoss,
  StepOutcome,
  TokenChoice,
} from './contract.ts'

export type ModelHandle = { readonly native: 'model' }
export type AdapterHandle = { readonly native: 'adapter' }
export type SequenceHandle = { readonly native: 'sequence' }
export type Moment = 'firstMoment' | 'secondMoment'

/** What addon.cc and its parts export; it trusts its arguments. */
export interface Addon {
  loadModel(
    architecture: Architecture,
    tensors: readonly TensorSource[],
    quantization: { nf4: boolean; blockSize: number; doubleQuantization: boolean },
    threads: number,
    activationCheckpointing: ActivationCheckpointing,
    onProgress: (fraction: number) => void,
    instructionPath: ComputePath | undefined,
    timed: boolean | undefined,
    keepSteps: boolean,
  ): Promise<ModelHandle>
  createAdapter(
    model: ModelHandle,
    config: LoraConfig,
    tensors: readonly AdapterTensor[] | null,
  ): Promise<AdapterHandle>
  accumulate(model: ModelHandle, adapter: AdapterHandle, batch: Batch, step: number): Promise<StepLoss>
  optimizerStep(model: ModelHandle, adapter: AdapterHandle, options: OptimizerOptions): Promise<StepOutcome>
  evaluate(
    model: ModelHandle,
    adapter: AdapterHandle | undefined,
    batch: Batch,
  ): Promise<{ nll: Float64Array; labelTokens: Int32Array }>
  likelihoods(model: ModelHandle, adapter: AdapterHandle | undefined, batch: Batch): Promise<Likelihood[]>
  openSequence(
    model: ModelHandle,
    adapter: AdapterHandle | undefined,
    maxTokens: number,
    promptTokens: number,
  ): SequenceHandle
  forward(
    model: ModelHandle,
    sequences: readonly SequenceHandle[],
    tokens: readonly Int32Array[],
  ): Promise<Float32Array[]>
  sample(
    model: ModelHandle,
    sequences: readonly SequenceHandle[],
    tokens: readonly Int32Array[],
    choices: readonly (TokenChoice | undefined)[],
  ): Promise<(SampledToken | undefined)[]>
  readGradients(model: ModelHandle, adapter: AdapterHandle): AdapterTensor[]
  readParameters(adapter: AdapterHandle): AdapterTensor[]
  readMoments(adapter: AdapterHandle, moment: Moment): MomentTensor[]
  writeMoments(adapter: AdapterHandle, moment: Moment, tensors: readonly MomentTensor[]): void
  discardGradients(model: ModelHandle, adapter: AdapterHandle): void
  takeOpTimes(model: ModelHandle): OpTime[]
  memory(model: ModelHandle): { residentBytes: number; peakBytes: number }
  cancel(model: ModelHandle): void
  closeModel(model: ModelHandle): void
  closeAdapter(adapter: AdapterHandle): void
  closeSequence(sequence: SequenceHandle): void
  readTensor(tensor: TensorSource): Float32Array
  mergeTensor(tensor: TensorSource, a: Float32Array, b: Float32Array, rank: number, scale: number): Uint8Array
  quantizeNf4(values: Float32Array, blockSize: number): Nf4Tensor
  engineInfo(): EngineInfo
  deviceMemory(): DeviceMemory
  gpuReadings(): GpuReadings | undefined
}

export const addon = (): Addon => loadAddon() as Addon
