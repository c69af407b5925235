import { existsSync } from 'node:fs'
import { engineInfo } from '../native/index.ts'
import { JobFailure } from './failure.ts'

/** What decides beside the configuration. */
export interface Surroundings {
  /** The driver's device file, which NVIDIA's container runtime brings into a pod that asked for a GPU. */
  readonly hasDeviceFile: () => boolean
  /** Whether this image's engine has kernels for a GPU. */
  readonly hasKernels: () => boolean
}

const surroundings: Surroundings = {
  hasDeviceFile: () => existsSync('/dev/nvidiactl'),
  hasKernels: () => engineInfo().cuda,
}

/**
 * Whether to compute on the GPU, in training and serving alike. Auto means the CPU only where there is no device: never a silent CPU run
 * beside an unusable GPU. Throws DriverUnusable when this image's engine has no kernels for one.
 */
export function onDevice(backend: string, { hasDeviceFile, hasKernels } = surroundings): boolean {
  if (backend === 'CPU' || (backend !== 'CUDA' && !hasDeviceFile())) return false
  if (hasKernels()) return true
  throw new JobFailure(
    'DriverUnusable',
    `backend is ${backend || 'Auto'} with a GPU; this image has the CPU engine only: use the one built with ENGINE=cuda`,
  )
}
