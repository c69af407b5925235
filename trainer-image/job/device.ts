import { existsSync } from 'node:fs'
import { engineInfo } from '../native/index.ts'
import { JobFailure } from './failure.ts'

/**
 * Whether to compute on the GPU. Auto means the CPU only where there is no device: never a silent CPU run beside an unusable GPU. Throws
 * DriverUnusable when this image's engine has no kernels for one.
 */
export function onDevice(backend: string): boolean {
  if (backend === 'CPU' || (backend !== 'CUDA' && !existsSync('/dev/nvidiactl'))) return false
  if (engineInfo().cuda) return true
  throw new JobFailure(
    'DriverUnusable',
    `backend is ${backend || 'Auto'} with a GPU; this image has the CPU engine only: use the one built with ENGINE=cuda`,
  )
}
