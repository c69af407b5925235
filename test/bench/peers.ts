/** The rows of the engine's suite that need a peer, each side in a process of its own. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { Contender, inTurns, type Pair } from './contender.ts'
import type { Prose } from './prose.ts'
import { python } from './python.ts'
import type { Bench, Row } from './report.ts'
import { pairs } from './settings.ts'

export interface Setting {
  readonly claim: string
  /** The folder that every process loads. */
  readonly base: string
  /** What llama.cpp loads instead, and ours beside it. */
  readonly gguf: string
  readonly prose: Prose
  readonly threads: number
  /** Whether the peers are at their best in bf16; f32 otherwise. */
  readonly bf16: boolean
}

type Arguments = readonly (string | number)[]

const here = (path: string): string => join(import.meta.dirname, path)
const ours = (script: string, args: Arguments): Contender =>
  new Contender(process.execPath, [here(`engine/${script}`), ...args.map(String)])
const peer = (script: string, args: Arguments, requirements = 'requirements.txt'): Contender =>
  new Contender(python(requirements), [here(`peer/${script}`), ...args.map(String)])

export function besidePeers(setting: Setting): Bench[] {
  return [...trainSteps(setting), ...ragged(setting), ...decoding(setting), ...llamaCpp(setting), loading(setting)]
}

/** How the peers hold the base: in NF4 by bitsandbytes, and in the type in which they compute fastest. */
const peerBases = ({ bf16 }: Setting) =>
  ({ nf4: bf16 ? 'nf4-bf16' : 'nf4', plain: bf16 ? 'bfloat16' : 'float32' }) as const

function trainSteps(setting: Setting): Bench[] {
  const { nf4, plain } = peerBases(setting)
  const peers = [
    { bench: 'step-vs-peft-bnb', held: nf4, name: 'PEFT + bitsandbytes NF4', memory: 'memory-vs-peft-bnb' },
    { bench: 'step-vs-peft-f32', held: plain, name: `PEFT, ${plain} base`, memory: undefined },
  ]
  const shapes = [
    [4, 256],
    [2, 1024],
  ] as const
  return peers.flatMap(({ bench, held, name, memory }) =>
    shapes.flatMap(([sequences, length]) =>
      [0.05, 0].map((dropout): Bench => {
        const what = `${sequences} × ${length}, dropout ${dropout}`
        const works = [`${bench} ${what}`, ...(memory ? [`${memory} ${what}`] : [])]
        const measure = async (): Promise<Row[]> => {
          const sizes = [sequences, length, dropout, setting.threads]
          await using mine = ours('train-step.ts', [setting.base, 'NF4', ...sizes])
          await using theirs = peer('train_step.py', [setting.base, held, ...sizes])
          const speed = throughput(await inTurns(mine, theirs, pairs), works[0]!, name, sequences * length)
          if (!memory) return [speed]
          const [mineMiB, theirsMiB] = [(await mine.peakBytes()) / 2 ** 20, (await theirs.peakBytes()) / 2 ** 20]
          const bytes = { unit: 'MiB', ours: mineMiB, theirs: theirsMiB, ratio: theirsMiB / mineMiB }
          return [speed, { work: works[1]!, peer: name, ...bytes }]
        }
        return { works, measure }
      }),
    ),
  )
}

/** A row of rounds of `tokens` each. */
const throughput = ({ ours, theirs, ratio }: Pair, work: string, peer: string, tokens: number): Row => ({
  work,
  peer,
  ratio,
  unit: 'tokens/s',
  ours: tokens / ours,
  theirs: tokens / theirs,
})

/**
 * The same texts on both sides, so seconds of an epoch compare; no padding counts as a token. What is said of TRL is its best of these. A
 * round begins with a fresh model on our side, so none is left out to warm up.
 */
function ragged(setting: Setting): Bench[] {
  const { base, claim, prose, threads } = setting
  const { plain } = peerBases(setting)
  const modes = [
    ['packed', 'packing'],
    ['padded', 'padded'],
    ['single', 'one at a time'],
  ] as const
  return modes.map(([mode, name]): Bench => {
    const work = `ragged-vs-trl, ${name}`
    const measure = async (): Promise<Row[]> => {
      await using mine = ours('trainer.ts', [claim, prose.datasetDigest])
      await using theirs = peer('sft.py', [base, prose.rows, plain, mode, threads])
      const pair = await inTurns(mine, theirs, pairs, 0)
      return [throughput(pair, work, `TRL SFTTrainer, ${plain}, ${name}`, prose.tokens)]
    }
    return { works: [work], measure }
  })
}

const [prompt, fresh] = [32, 64]

function decoding(setting: Setting): Bench[] {
  const { base, threads } = setting
  const { nf4, plain } = peerBases(setting)
  const peers = [
    { bench: 'decode-vs-transformers-bnb', held: nf4, name: 'transformers + bitsandbytes NF4' },
    { bench: 'decode-vs-transformers', held: plain, name: `transformers, ${plain}` },
  ]
  return peers.flatMap(({ bench, held, name }) =>
    [1, 8].map((requests): Bench => {
      const work = `${bench} ${requests} at once`
      const measure = async (): Promise<Row[]> => {
        const sizes = [requests, prompt, fresh, threads]
        await using mine = ours('decode.ts', [base, 'NF4', ...sizes])
        await using theirs = peer('decode.py', [base, held, ...sizes])
        return [throughput(await inTurns(mine, theirs, pairs), work, name, requests * fresh)]
      }
      return { works: [work], measure }
    }),
  )
}

/** Both from the GGUF file: llama.cpp computes in its Q4_1, ours in the NF4 that a release on this base has. */
function llamaCpp({ gguf, threads }: Setting): Bench[] {
  return [1, 8].map((requests): Bench => {
    const work = `decode-vs-llamacpp ${requests} at once`
    const measure = async (): Promise<Row[]> => {
      const sizes = [requests, prompt, fresh, threads]
      await using mine = ours('decode.ts', [gguf, 'NF4', ...sizes])
      await using theirs = peer('llamacpp.py', [gguf, ...sizes], 'requirements-llamacpp.txt')
      return [throughput(await inTurns(mine, theirs, pairs), work, 'llama.cpp, GGUF Q4_1', requests * fresh)]
    }
    return { works: [work], measure }
  })
}

/** Fresh processes, so that nothing is loaded already; the files are in the page cache for both. */
function loading(setting: Setting): Bench {
  const { base, threads } = setting
  const { nf4 } = peerBases(setting)
  const work = 'load-vs-transformers'
  const seconds = (program: string, args: readonly string[]): number => {
    const output = execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    return (JSON.parse(output.trim().split('\n').at(-1)!) as { seconds: number }).seconds
  }
  const measure = async (): Promise<Row[]> => {
    const times = Array.from({ length: pairs }, () => ({
      ours: seconds(process.execPath, [here('engine/load.ts'), base, 'NF4', String(threads)]),
      theirs: seconds(python('requirements.txt'), [here('peer/load.py'), base, nf4, String(threads)]),
    })).sort((a, b) => a.theirs / a.ours - b.theirs / b.ours)
    const middle = times[times.length >> 1]!
    const ratio = middle.theirs / middle.ours
    return [{ work, peer: 'transformers + bitsandbytes', ratio, unit: 's', ...middle }]
  }
  return { works: [work], measure }
}
