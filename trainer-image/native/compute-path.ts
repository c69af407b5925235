/**
 * The kernels of one kind of processor. avx512_bf16 rounds the factors of the products of linear layers, head, LoRA and attention to bf16
 * and adds in f32 (bf16_matmul.h, bf16_lora.h, bf16_attention.h); the others compute in f32.
 */
export type InstructionPath = 'baseline' | 'avx2' | 'avx512' | 'avx512_bf16'
/** An instruction path of the processor, or the GPU with activations in bf16 or f32. */
export type ComputePath = InstructionPath | 'cuda' | 'cuda_f32'

/** What computes: for run_config.json, since equal bits are promised only where all of it is equal. */
export interface EngineInfo {
  /** that a model takes unless loadModel is given another: the widest whose products are f32 */
  readonly instructionPath: InstructionPath
  /** that this processor has, the narrowest first */
  readonly instructionPaths: readonly InstructionPath[]
  /** whether it was built with the CUDA kernels: only then are 'cuda' and 'cuda_f32' more than an error */
  readonly cuda: boolean
  readonly oneDnnVersion: string
  readonly compiler: string
  /** counts the changes of the engine that give a run other bits */
  readonly arithmetic: number
}

/** Of the GPU that the paths 'cuda' and 'cuda_f32' compute on. */
export interface DeviceMemory {
  /** As CUDA names it, such as "NVIDIA H100 80GB HBM3 MIG 1g.10gb". */
  readonly name: string
  readonly freeBytes: number
  readonly totalBytes: number
}

/** Of the same GPU, as NVIDIA's management library tells; a figure that it does not give is absent. */
export interface GpuReadings {
  /** of the last sample period, 1/6 to 1 s, in which a kernel ran */
  readonly utilizationPercent?: number
  /** on the whole GPU, by anyone */
  readonly memoryUsedBytes?: number
  readonly memoryTotalBytes?: number
  readonly powerWatts?: number
  readonly temperatureCelsius?: number
  /** the first of its calls that failed, and why */
  readonly problem?: string
}
