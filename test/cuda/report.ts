/**
 * What each kernel takes on each architecture, from its compiled code: docs/gpu-resources.md for people, kernels.tsv for the
 * emulated device, which refuses launches beyond it. `--check` compares hashes alone and compiles nothing.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Compiled, compiled, type Kernel } from './compile.ts'
import { occupancy } from './occupancy.ts'
import { type Capability, capabilities, root, type Source, sources } from './sources.ts'

const page = join(root, 'docs/gpu-resources.md')
const table = join(root, 'test/cuda/kernels.tsv')

/** A function's name up to the parenthesis that its last one closes. */
function withoutParameters(name: string): string {
  let depth = 0
  for (let i = name.length - 1; i >= 0; i--) {
    if (name[i] === ')') depth += 1
    if (name[i] === '(' && --depth === 0) return name.slice(0, i)
  }
  return name
}

/** Names as people read them: without the parameters' types and the namespaces that all share. */
export function readable(kernels: readonly Kernel[]): string[] {
  if (kernels.length === 0) return [] // a file that only launches those of others
  const input = kernels.map(({ symbol }) => symbol).join('\n')
  const names = execFileSync('c++filt', [], { input, encoding: 'utf8' }).trimEnd().split('\n')
  return names
    .map((name) =>
      name
        .replaceAll('humanizer::cuda::', '')
        .replaceAll('humanizer::', '')
        .replaceAll('(anonymous namespace)::', '')
        .replaceAll('__nv_bfloat16', 'bf16')
        .replace(/^void /, ''),
    )
    .map(withoutParameters)
}

function cell(kernel: Kernel, capability: Capability): string {
  const taken = kernel.on[capability]
  const { registers, shared } = taken
  const full = kernel.threads && occupancy(capability, { threads: kernel.threads, registers, sharedBytes: shared })
  const local = taken.stack > 0 ? ` **${taken.stack} B local**` : ''
  return `${registers}${full === null ? '' : ` · ${Math.round(full * 100)} %`}${local}`
}

/** The range of what a kernel has of an instruction over the architectures. */
function counted(kernel: Kernel, kind: 'wideLoads' | 'wideStores' | 'asyncCopies' | 'tensorProducts'): string {
  const counts = capabilities.map((capability) => kernel.on[capability][kind])
  const [least, most] = [Math.min(...counts), Math.max(...counts)]
  return least === most ? `${most}` : `${least}–${most}`
}

export function pageOf(files: readonly Compiled[]): string {
  const names = capabilities.map((capability) => `${Math.floor(capability / 10)}.${capability % 10}`)
  const lines = [
    '# What the CUDA kernels take',
    '',
    'Written by `make cuda` from the compiled code (`ptxas -v` and the disassembly of CUDA 13.0); `make verify` fails when a source has changed since.',
    'Nothing here was measured on a GPU.',
    '',
    'For each compute capability: registers of a thread · occupancy by registers, static shared memory and the promised block (`__launch_bounds__`); dynamic shared memory,',
    'which a launch asks for, can lower it. A kernel that keeps anything in local memory (a spill, or an array that is indexed at run time) says how much. The last columns count',
    'instructions in the code: loads and stores of 16 bytes at once, asynchronous copies to shared memory, tensor-core products.',
  ]
  for (const file of files) {
    if (file.kernels.length === 0) continue
    lines.push('', `## ${file.name}`, '')
    lines.push(`| kernel | block | shared | ${names.join(' | ')} | 16 B loads | 16 B stores | copies | tensor |`)
    lines.push(`|${' --- |'.repeat(names.length + 7)}`)
    const kernelNames = readable(file.kernels)
    for (const [i, kernel] of file.kernels.entries()) {
      const cells = capabilities.map((capability) => cell(kernel, capability))
      const kinds = (['wideLoads', 'wideStores', 'asyncCopies', 'tensorProducts'] as const).map((kind) =>
        counted(kernel, kind),
      )
      lines.push(
        `| \`${kernelNames[i]}\` | ${kernel.threads ?? 'any'} | ${kernel.on[80].shared} B | ${[...cells, ...kinds].join(' | ')} |`,
      )
    }
  }
  return `${lines.join('\n')}\n`
}

/** A line for each kernel and architecture: file, symbol, capability, threads (0: no bound), registers, static shared bytes. */
export function tableOf(files: readonly Compiled[]): string {
  return files
    .flatMap((file) => [
      `# ${file.name} ${file.hash}`,
      ...file.kernels.flatMap((kernel) =>
        capabilities.map((capability) => {
          const { registers, shared } = kernel.on[capability]
          return [file.name, kernel.symbol, capability, kernel.threads ?? 0, registers, shared].join('\t')
        }),
      ),
    ])
    .map((line) => `${line}\n`)
    .join('')
}

/** What is committed is of other sources than these. */
export function stale(committed: string, of: readonly Source[]): string[] {
  const recorded = new Map([...committed.matchAll(/^# (\S+) (\S+)$/gm)].map(([, name, hash]) => [name, hash]))
  const changed = of.filter(({ name, hash }) => recorded.get(name) !== hash).map(({ name }) => name)
  const names = new Set(of.map(({ name }) => name))
  return [...changed, ...[...recorded.keys()].filter((name): name is string => name !== undefined && !names.has(name))]
}

export const committedPage = (): string => readFileSync(page, 'utf8')
export const committedTable = (): string => readFileSync(table, 'utf8')

if (import.meta.main) {
  if (process.argv[2] === '--check') {
    const files = stale(committedTable(), sources())
    if (files.length > 0) {
      console.error(
        `docs/gpu-resources.md is stale, for ${files.join(', ')} changed: run make cuda and commit what it writes`,
      )
      process.exit(1)
    }
  } else {
    const files = await compiled()
    writeFileSync(page, pageOf(files))
    writeFileSync(table, tableOf(files))
  }
}
