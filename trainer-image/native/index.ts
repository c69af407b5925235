import type { Architecture, Nf4Tensor, Quantization, TensorSource } from './base-model.ts'
import type { ComputePath, DeviceMemory, EngineInfo, GpuReadings } from './compute-path.ts'
import type { ActivationCheckpointing, Model } from './contract.ts'
import { addon } from './engine-addon.ts'
import { NativeModel, now, settled } from './native-model.ts'
import { checkArchitecture, checkBlockSize, checkFloat32s, checkInteger, checkTensor, invalid } from './validate.ts'

export * from './base-model.ts'
export * from './compute-path.ts'
export * from './contract.ts'
export { type NearDuplicateIndex, nearDuplicateIndex } from './dedup.ts'
export * from './native-error.ts'

/**
 * Reads the tensors and, with NF4, quantises the linear layers. onProgress gets fractions up to 1. threads: normally the CPU quota; the
 * same number gives the same bits. activationCheckpointing holds for every accumulate; Selective when absent. instructionPath: one of engineInfo's,
 * its `instructionPath` when absent. timed: for takeOpTimes, of one model at a time. keepSteps: whether a GPU may keep steps whose shapes come again
 * as CUDA graphs, in its memory; true when absent. DATA_INVALID names a tensor that is missing, misshapen or cut short.
 */
export function loadModel(
  architecture: Architecture,
  tensors: readonly TensorSource[],
  options: {
    quantization: Quantization
    threads: number
    activationCheckpointing?: ActivationCheckpointing
    onProgress?: (fraction: number) => void
    instructionPath?: ComputePath
    timed?: boolean
    keepSteps?: boolean
  },
): Promise<Model> {
  return settled(async () => {
    checkArchitecture(architecture)
    for (const tensor of tensors) checkTensor(tensor)
    checkInteger('threads', options.threads, 1, 1024)
    const { type, blockSize, doubleQuantization } = options.quantization
    checkBlockSize('quantization.blockSize', blockSize)
    const quantization = { nf4: type === 'NF4', blockSize, doubleQuantization }
    const { threads, activationCheckpointing = 'Selective', onProgress = () => {} } = options
    const handle = await addon().loadModel(
      architecture,
      tensors,
      quantization,
      threads,
      activationCheckpointing,
      onProgress,
      options.instructionPath,
      options.timed,
      options.keepSteps ?? true,
    )
    return new NativeModel(handle, architecture)
  })
}

/** All values of a tensor as f32, row-major, rows un-permuted. Reads and decodes before it returns. */
export function readTensor(tensor: TensorSource): Float32Array {
  return now(() => {
    checkTensor(tensor)
    return addon().readTensor(tensor)
  })
}

/**
 * Bytes of a matrix [out, in] with an adapter's update in it, in the tensor's own type: W + scale · B A in f32, rounded once. a: [rank, in],
 * b: [out, rank]. DATA_INVALID when the tensor is not in F32, F16 or BF16, or a value leaves that type. Returns when it is done.
 */
export function mergeTensor(
  tensor: TensorSource,
  { a, b, rank, scale }: { a: Float32Array; b: Float32Array; rank: number; scale: number },
): Uint8Array {
  return now(() => {
    checkTensor(tensor)
    checkInteger('rank', rank, 1, 4096)
    const [out, inner] = tensor.shape
    for (const [field, values, size] of [
      ['a', a, inner],
      ['b', b, out],
    ] as const) {
      checkFloat32s(field, values)
      if (values.length !== rank * size!) throw invalid(`${field}.length`, values.length, `${rank} · ${size}`)
    }
    if (!Number.isFinite(scale)) throw invalid('scale', scale, 'a finite number')
    return addon().mergeTensor(tensor, a, b, rank, scale)
  })
}

/** Finite values in bitsandbytes' NF4 form, with both forms of the scales: absmax, and the double-quantised rest. */
export function quantizeNf4(values: Float32Array, blockSize: number): Nf4Tensor {
  return now(() => {
    checkFloat32s('values', values)
    if (values.length === 0) throw invalid('values.length', 0, 'at least one value')
    checkBlockSize('blockSize', blockSize)
    const quantized = addon().quantizeNf4(values, blockSize)
    const block = quantized.absmax.findIndex((scale) => !Number.isFinite(scale))
    if (block >= 0) throw invalid('values', `not finite in block ${block}`, 'finite numbers')
    return quantized
  })
}

export function engineInfo(): EngineInfo {
  return addon().engineInfo()
}

/** Throws DEVICE_UNAVAILABLE with what to do where there is no GPU to use. */
export function deviceMemory(): DeviceMemory {
  return now(() => addon().deviceMemory())
}

/** Undefined where there is no NVIDIA management library. Without CUDA kernels: of the first GPU that it shows. Takes some milliseconds, at its first use more. */
export function gpuReadings(): GpuReadings | undefined {
  return addon().gpuReadings()
}
