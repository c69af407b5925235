/**
 * Compiles the engine's .cu files with NVIDIA's compiler for every architecture, warnings as errors. What a file became lies in
 * $HUMANIZER_CACHE under the hash of all that it was made from. Run as a program, prints the objects' paths.
 */
import { execFile, execFileSync } from 'node:child_process'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir } from '../cache.ts'
import { type Instructions, instructionsOf, type Resources, resourcesOf, threadsOf } from './assembly.ts'
import { type Capability, flags, root, type Source, sources } from './sources.ts'

const run = promisify(execFile)
const output = { maxBuffer: 2 ** 30 }

export interface Kernel {
  /** As g++ would name it. */
  readonly symbol: string
  /** The most threads of a block that it promises to take (__launch_bounds__). */
  readonly threads: number | null
  readonly on: Readonly<Record<Capability, Resources & Instructions>>
}

export interface Compiled extends Source {
  readonly object: string
  readonly kernels: readonly Kernel[]
}

/** NVIDIA's compiler refuses the file. */
export class NotCompiled extends Error {}

async function compile(source: Source, toolkit: string): Promise<Compiled> {
  const folder = join(cacheDir, 'cuda-objects', `${source.name}-${source.hash}`)
  const object = join(folder, `${source.name}.o`)
  try {
    const kernels = JSON.parse(await readFile(join(folder, 'kernels.json'), 'utf8')) as Kernel[]
    return { ...source, object, kernels }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const partial = `${folder}.${process.pid}`
  await mkdir(partial, { recursive: true })
  const made = join(partial, `${source.name}.o`)
  try {
    const include = ['-I', dirname(source.path)]
    const { stdout, stderr } = await run(
      join(toolkit, 'bin/nvcc'),
      [...flags, '-Xptxas=-v', ...include, '-c', source.path, '-o', made],
      output,
    ).catch((error: { stdout: string; stderr: string }) => {
      const lines = (error.stdout + error.stderr).split('\n').filter((line) => !line.includes('ptxas info'))
      throw new NotCompiled(`${source.name}: ${lines.slice(0, 40).join('\n')}`)
    })
    const disassembler = { ...output, env: { ...process.env, PATH: `${toolkit}/bin:${process.env['PATH']}` } }
    const sass = await run('cuobjdump', ['-sass', made], disassembler)
    const ptx = await run('cuobjdump', ['-ptx', made], disassembler)
    const instructions = instructionsOf(sass.stdout)
    const threads = threadsOf(ptx.stdout)
    const kernels = [...resourcesOf(stdout + stderr)]
      .map(([symbol, on]) => ({
        symbol,
        threads: threads.get(symbol) ?? null,
        on: Object.fromEntries(
          [...on].map(([capability, taken]) => [
            capability,
            { ...taken, ...instructions.get(symbol)?.get(capability) },
          ]),
        ) as Kernel['on'],
      }))
      .sort((a, b) => (a.symbol < b.symbol ? -1 : 1))
    await writeFile(join(partial, 'kernels.json'), JSON.stringify(kernels))
    await rename(partial, folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error // another process was as fast
    })
    return { ...source, object, kernels }
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
}

/** All of them, as many at once as there are cores. Takes minutes where nothing is cached, else milliseconds. */
export async function compiled(): Promise<Compiled[]> {
  const toolkit = execFileSync(join(root, 'test/cuda/toolkit.sh'), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
  const all = sources()
  const results: Compiled[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    for (let i = next++; i < all.length; i = next++) results[i] = await compile(all[i]!, toolkit)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, worker))
  return results
}

if (import.meta.main) for (const { object } of await compiled()) console.log(object)
