/** What can be told of a machine's driver before minutes of compiling, and of who else uses its GPU. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DeviceMemory, GpuReadings } from '../../trainer-image/native/index.ts'

/** That CUDA 13.0 runs on: kOldestDriver, cuda_error.h. */
const OLDEST = 580

export const NEEDED = `make gpu needs Linux, an NVIDIA GPU of compute capability 8.0 or newer and its driver, ${OLDEST} or newer`

/** Where the driver is looked for. */
export interface Machine {
  readonly deviceFile: string
  /** "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  …". */
  readonly versionFile: string
  readonly libraryPath: string
}

/**
 * Why there is no use in compiling; undefined where there may be. A driver that is too old is let pass where $LD_LIBRARY_PATH leads to a
 * libcuda.so.1 of NVIDIA's compatibility package, with which a data-centre GPU runs newer programs.
 */
export function driverProblem({ deviceFile, versionFile, libraryPath }: Machine): string | undefined {
  if (!existsSync(deviceFile)) return `${deviceFile}: no such file, so no NVIDIA driver is loaded`
  if (!existsSync(versionFile)) return undefined
  const version = /\b\d{3}\.[\d.]+/.exec(readFileSync(versionFile, 'utf8'))?.[0]
  if (version === undefined || Number.parseInt(version, 10) >= OLDEST) return undefined
  const folders = libraryPath.split(':').filter(Boolean)
  if (folders.some((folder) => existsSync(join(folder, 'libcuda.so.1')))) return undefined
  return `${versionFile} says driver ${version}: update it, or, on a data-centre GPU, install NVIDIA's cuda-compat-13-0 and put its folder into LD_LIBRARY_PATH`
}

/** The driver and our own context take less. */
const OWN_BYTES = 2 * 2 ** 30

/** That others compute on the GPU, or hold its memory: what is measured is theirs, too. */
export function othersOn({ freeBytes, totalBytes }: DeviceMemory, readings: GpuReadings | undefined): string | null {
  const used = totalBytes - freeBytes
  const busy = readings?.utilizationPercent ?? 0
  if (used < OWN_BYTES && busy < 10) return null
  return `${Math.round(used / 2 ** 20)} of ${Math.round(totalBytes / 2 ** 20)} MiB were taken and ${busy} % of the time kernels ran before this began`
}
