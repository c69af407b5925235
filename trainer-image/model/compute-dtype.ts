import { JobFailure } from '../job/failure.ts'
import { type ComputePath, type EngineInfo, engineInfo, type InstructionPath } from '../native/index.ts'

/** What quantization.computeDtype may be; absent is Auto. */
export const computeDtypes = ['', 'Auto', 'Float32', 'BFloat16'] as const

type Processor = Pick<EngineInfo, 'instructionPath' | 'instructionPaths'>

/**
 * The kernels that products with frozen weights take on this processor (ADR 9). Auto: bf16 where it has the instructions, which is the faster
 * for training and for answers alike, else float32. Throws ConfigurationInvalid where BFloat16 is asked of a processor that has them not.
 */
export function instructionPathOf(computeDtype: string, processor: Processor = engineInfo()): InstructionPath {
  if (computeDtype === 'Float32') return processor.instructionPath
  const bf16 = processor.instructionPaths.find((path) => path === 'avx512_bf16')
  if (bf16) return bf16
  if (computeDtype !== 'BFloat16') return processor.instructionPath
  throw new JobFailure(
    'ConfigurationInvalid',
    'quantization.computeDtype is BFloat16; expected Auto or Float32 on a processor without AVX-512 BF16',
  )
}

/** On a GPU Auto means bf16. */
export const computePathOf = (onDevice: boolean, computeDtype: string, processor?: Processor): ComputePath =>
  onDevice ? (computeDtype === 'Float32' ? 'cuda_f32' : 'cuda') : instructionPathOf(computeDtype, processor)

/** What a path is a path of, as `spec.backend` names it. */
export const backendOf = (path: ComputePath): 'CPU' | 'CUDA' => (path.startsWith('cuda') ? 'CUDA' : 'CPU')

/** The path of a run's later attempt: that of its start where this processor has it, so that it goes on bit for bit; else as at a start. */
export const continuedPath = (
  atStart: ComputePath,
  onDevice: boolean,
  computeDtype: string,
  processor: Processor = engineInfo(),
): ComputePath =>
  processor.instructionPaths.find((path) => path === atStart && !onDevice) ??
  computePathOf(onDevice, computeDtype, processor)
