import { nameOf, type Row, type TimedStep } from './benchmark.ts'
import type { Report } from './report.ts'

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

const gib = (bytes: number | null): string => (bytes === null ? 'not told' : (bytes / 2 ** 30).toFixed(2))

const paragraphs = (lines: readonly string[]): string => lines.map((line) => `${line}\n\n`).join('')

const recomputed = { None: 'nothing', Selective: 'norms, SwiGLU', Full: 'all', Offload: 'all, offloaded' } as const

function rowCells(row: Row, peak: number | null): string[] {
  const { goal } = row
  const goals = [
    goal?.tokensPerSecond === undefined ? [] : `${goal.tokensPerSecond} tokens/s`,
    goal?.gib === undefined ? [] : `${goal.gib} GiB`,
  ]
  return [
    `${row.sequences} × ${row.length}`,
    recomputed[row.activationCheckpointing],
    row.optimizer,
    row.tokensPerSecond.toFixed(0),
    ((1000 * row.sequences * row.length) / row.tokensPerSecond).toFixed(1),
    gib(row.peakBytes),
    gib(row.gpuBytes),
    (row.operationsPerSecond / 1e12).toFixed(1),
    peak ? `${((100 * row.operationsPerSecond) / peak).toFixed(1)} %` : 'card not known',
    goals.flat().join(', '),
  ]
}

function timedPart({ setting, seconds, ops }: TimedStep, peak: number | null): string {
  const total = ops.reduce((sum, op) => sum + op.seconds, 0)
  return `## Where a step's time goes

${nameOf(setting)}: each operation is waited for, so that its time is its own, with some microseconds of its start; such a step takes
${(1000 * seconds).toFixed(1)} ms, the operations ${(1000 * total).toFixed(1)} ms of it.

${table(
  ['operation', 'calls', 'ms', 'share', 'TFLOP/s', 'of the peak'],
  ops.map(({ op, calls, seconds: taken, operations }) => [
    `\`${op}\``,
    String(calls),
    (1000 * taken).toFixed(2),
    `${((100 * taken) / total).toFixed(1)} %`,
    operations > 0 ? (operations / taken / 1e12).toFixed(1) : '',
    operations > 0 && peak ? `${((100 * operations) / taken / peak).toFixed(1)} %` : '',
  ]),
)}

`
}

/** gpu.md. */
export function page(report: Report): string {
  const { gpu, others, emulated, peak, kernels, parity, parityProblem, sanitizer, benchmark, peers } = report
  const problems = [parityProblem, benchmark.failed].flatMap((why) => (why === null ? [] : [`**Ended early**: ${why}`]))
  const title = emulated
    ? `# ${gpu} (emulated)

**Emulated**: a CPU ran the kernels (docs/gpu-testing.md). Times and rates below are those of the emulator and say nothing about a GPU.`
    : `# ${gpu}`
  return `${title}

${others === null ? '' : `**Not alone**: ${others}; times, and memory on the GPU, are not ours alone.\n\n`}${paragraphs(problems)}Random weights in NF4, rank 32 on all linear layers, dropout 0.05; medians of the steps in gpu.json. Goals are those of Llama 3.2 3B on an H100.

${table(
  [
    'step',
    'recomputed',
    'optimizer',
    'tokens/s',
    'ms a step',
    'peak GiB',
    'GiB on the GPU',
    'TFLOP/s by 4N',
    'MFU by 4N',
    'goal',
  ],
  benchmark.rows.map((row) => rowCells(row, peak)),
)}

${paragraphs(benchmark.refused.map((line) => `Out of memory: ${line}`))}${benchmark.timed ? timedPart(benchmark.timed, peak) : ''}## Peers

${
  peers.steps.length > 0
    ? `${table(
        ['peer', 'step', 'tokens/s', 'peak GiB'],
        peers.steps.map(({ peer, setting, tokensPerSecond, peakBytes }) => [
          peer,
          nameOf(setting),
          tokensPerSecond.toFixed(0),
          gib(peakBytes),
        ]),
      )}\n\n`
    : ''
}${paragraphs(peers.absent.map((line) => `Not run: ${line}`))}## Right

${kernels.passed} cases of the kernels are as the CPU's, ${kernels.failed.length} are not. compute-sanitizer over them: ${Object.entries(
    sanitizer,
  )
    .map(([tool, said]) => `${tool} ${said}`)
    .join(', ')}.

${paragraphs(kernels.failed.map((line) => `**Not as the CPU's**: ${line}`))}Whole steps against the CPU, the largest relative errors (bound); the same bits under each policy of recomputation, and in f32 the same tokens:

${table(
  ['family', 'path', 'loss', 'gradients', 'of q and k', ''],
  parity.map(({ family, path, ok, errors, bound, differ }) => [
    family,
    path,
    ...(['loss', 'gradient', 'scores'] as const).map((of) => `${errors[of].toExponential(1)} (${bound[of]})`),
    ok ? 'ok' : ['BEYOND', ...differ].join(': '),
  ]),
)}
`
}
