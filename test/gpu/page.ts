import type { Measured } from './benchmark.ts'
import type { Errors } from './parity.ts'

export interface Comparison {
  readonly family: string
  readonly path: string
  readonly ok: boolean
  readonly errors: Errors
  readonly bound: Errors
}

export interface Report {
  /** As nvidia-smi names it. */
  readonly gpu: string
  /** Dense bf16 operations a second of the card's data sheet; null where the card is not known. */
  readonly peak: number | null
  readonly parity: readonly Comparison[]
  /** Of compute-sanitizer over the comparison; exit status 99 means that it found errors. */
  readonly sanitizer: string
  readonly benchmark: Measured
}

/** Dense bf16 operations a second with f32 sums, by the vendor's data sheets (SXM; other forms of a card have less). */
const peaks: readonly (readonly [string, number])[] = [
  ['A100', 312e12],
  ['H100', 989e12],
  ['H200', 989e12],
  ['4090', 165e12],
]

export const peakOf = (gpu: string): number | null => peaks.find(([name]) => gpu.includes(name))?.[1] ?? null

const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n')

export const page = ({ gpu, peak, parity, sanitizer, benchmark }: Report): string => `# ${gpu}

Llama 3.2 3B's shape with random weights in NF4, rank 32 on all linear layers, dropout 0.05; medians of the steps in gpu.json.

${table(
  ['step', 'recomputed', 'tokens/s', 'ms a step', 'peak GiB', 'TFLOP/s by 4N', 'MFU by 4N'],
  benchmark.rows.map((row) => [
    `${row.sequences} × ${row.length}`,
    row.activationCheckpointing === 'Full' ? 'all' : 'nothing',
    row.tokensPerSecond.toFixed(0),
    ((1000 * row.sequences * row.length) / row.tokensPerSecond).toFixed(1),
    (row.peakBytes / 2 ** 30).toFixed(2),
    (row.operationsPerSecond / 1e12).toFixed(1),
    peak ? `${((100 * row.operationsPerSecond) / peak).toFixed(1)} %` : 'card not known',
  ]),
)}

${benchmark.refused.map((line) => `Out of memory: ${line}\n\n`).join('')}Against the CPU, the largest relative errors (bound); compute-sanitizer: ${sanitizer}.

${table(
  ['family', 'path', 'loss', 'gradients', 'of q and k', ''],
  parity.map(({ family, path, ok, errors, bound }) => [
    family,
    path,
    ...(['loss', 'gradient', 'scores'] as const).map((of) => `${errors[of].toExponential(1)} (${bound[of]})`),
    ok ? 'ok' : 'BEYOND',
  ]),
)}
`
