/** The engine's .cu files, and what each is compiled from. */
import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('../..', import.meta.url))
const native = join(root, 'trainer-image/native')

/** Compute capabilities that get machine code of their own; the last also gets PTX, for devices that come after it. */
export const capabilities = [80, 86, 89, 90, 100, 120] as const
export type Capability = (typeof capabilities)[number]

const newest = capabilities.at(-1)
export const flags: readonly string[] = [
  '-std=c++20',
  '-O3',
  '-Werror=all-warnings',
  '-Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Werror',
  ...capabilities.map((capability) => `-gencode=arch=compute_${capability},code=sm_${capability}`),
  `-gencode=arch=compute_${newest},code=compute_${newest}`,
]

export interface Source {
  /** Such as "rmsnorm.cu". */
  readonly name: string
  readonly path: string
  /** Changes when the file, a file that it includes, the compiler or a flag does. */
  readonly hash: string
}

/** The files that this one includes, and those they do: the engine's own, since the rest comes with the compiler. */
function included(path: string, seen: Set<string>): Set<string> {
  if (seen.has(path)) return seen
  seen.add(path)
  for (const [, name] of readFileSync(path, 'utf8').matchAll(/^#include [<"]([^>"]+)[>"]/gm)) {
    const file = join(native, name ?? '')
    if (existsSync(file)) included(file, seen)
  }
  return seen
}

export function sources(): Source[] {
  const compiler = [readFileSync(join(root, 'test/cuda/requirements.txt'), 'utf8'), ...flags]
  return globSync(join(native, '*.cu'))
    .sort()
    .map((path) => {
      const hash = createHash('sha256')
      for (const line of compiler) hash.update(`${line}\n`)
      for (const file of [...included(path, new Set())].sort()) hash.update(basename(file)).update(readFileSync(file))
      return { name: basename(path), path, hash: hash.digest('hex').slice(0, 16) }
    })
}
