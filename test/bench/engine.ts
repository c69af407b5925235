/**
 * The engine beside its peers, in turns in one run: bench.json gets the rows. `PEERS=none` measures only against the machine's own
 * matrix-product peak. Ratios are medians of pairs; every process gets the same threads and holds the same model folder.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { engineInfo } from '../../trainer-image/native/index.ts'
import { Contender, inTurns } from './contender.ts'
import { gemmShare } from './engine/gemm-share.ts'
import { printHeader, printRow, type Row } from './report.ts'

const here = (path: string): string => join(import.meta.dirname, path)
const threads = String(availableParallelism())
const leastShareOfPeak = 0.6
/** torch computes bf16 on such processors in hardware; on the others it is seven times slower than f32. */
const peerDtype = /\b(amx_bf16|avx512_bf16)\b/.test(readFileSync('/proc/cpuinfo', 'utf8')) ? 'bfloat16' : 'float32'
const peerNf4 = peerDtype === 'bfloat16' ? 'nf4-bf16' : 'nf4'

const rows: Row[] = []
function measured(row: Row): void {
  rows.push(row)
  printRow(row)
}

const { instructionPath, oneDnnVersion } = engineInfo()
console.log(
  `${threads} threads, ${instructionPath}, oneDNN ${oneDnnVersion}; SmolLM2-135M's shape, r 32 on seven targets; peers in ${peerDtype}\n`,
)
printHeader()
measured(await gemmShare(Number(threads)))
if (process.env['PEERS'] !== 'none') await besidePeers()
writeFileSync('bench.json', `${JSON.stringify(rows, null, 2)}\n`)
const share = rows.find(({ work }) => work === 'step-vs-gemm-peak')!.ratio
if (share < leastShareOfPeak) {
  console.error(`step-vs-gemm-peak: ${share.toFixed(3)}, wanted at least ${leastShareOfPeak}`)
  process.exitCode = 1
}

async function besidePeers(): Promise<void> {
  const python = execFileSync(here('peer/environment.sh'), {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  }).trim()
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-bench-'))
  try {
    execFileSync(python, [here('peer/model.py'), folder], { stdio: ['ignore', 'ignore', 'inherit'] })
    const peer = (script: string, args: readonly (string | number)[]): Contender =>
      new Contender(python, [here(`peer/${script}`), folder, ...args.map(String), threads])
    const ours = (script: string, args: readonly (string | number)[]): Contender =>
      new Contender(process.execPath, [here(`engine/${script}`), folder, ...args.map(String), threads])
    await trainSteps(ours, peer)
    await decoding(ours, peer)
    loading(python, folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

type Start = (script: string, args: readonly (string | number)[]) => Contender

async function trainSteps(ours: Start, peer: Start): Promise<void> {
  for (const [bench, base, name] of [
    ['step-vs-peft-bnb', peerNf4, 'PEFT + bitsandbytes NF4'],
    ['step-vs-peft-f32', peerDtype, `PEFT, ${peerDtype} base`],
  ] as const)
    for (const [sequences, length] of [
      [4, 256],
      [2, 1024],
    ] as const)
      for (const dropout of [0.05, 0]) {
        await using mine = ours('train-step.ts', ['NF4', sequences, length, dropout])
        await using theirs = peer('train_step.py', [base, sequences, length, dropout])
        const pair = await inTurns(mine, theirs, 3)
        const tokens = sequences * length
        const what = `${sequences} × ${length}, dropout ${dropout}`
        const speed = { ours: tokens / pair.ours, theirs: tokens / pair.theirs }
        measured({ work: `${bench} ${what}`, peer: name, ratio: pair.ratio, unit: 'tokens/s', ...speed })
        if (base !== peerNf4) continue
        const memory = { ours: (await mine.peakBytes()) / 2 ** 20, theirs: (await theirs.peakBytes()) / 2 ** 20 }
        const ratio = memory.theirs / memory.ours
        measured({ work: `memory-vs-peft-bnb ${what}`, peer: name, ratio, unit: 'MiB', ...memory })
      }
}

async function decoding(ours: Start, peer: Start): Promise<void> {
  const [prompt, fresh] = [32, 64]
  for (const [base, name] of [
    [peerNf4, 'transformers + bitsandbytes NF4'],
    [peerDtype, `transformers, ${peerDtype}`],
  ] as const)
    for (const requests of [1, 8]) {
      await using mine = ours('decode.ts', ['NF4', requests, prompt, fresh])
      await using theirs = peer('decode.py', [base, requests, prompt, fresh])
      const pair = await inTurns(mine, theirs, 3)
      const tokens = requests * fresh
      measured({
        work: `decode-vs-transformers-bnb ${requests} at once`,
        peer: name,
        ratio: pair.ratio,
        unit: 'tokens/s',
        ours: tokens / pair.ours,
        theirs: tokens / pair.theirs,
      })
    }
}

/** Fresh processes, so that nothing is loaded already; the files are in the page cache for both. */
function loading(python: string, folder: string): void {
  const seconds = (program: string, args: readonly string[]): number =>
    (
      JSON.parse(
        execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
          .trim()
          .split('\n')
          .at(-1) ?? '',
      ) as { seconds: number }
    ).seconds
  const times = Array.from({ length: 3 }, () => ({
    ours: seconds(process.execPath, [here('engine/load.ts'), folder, 'NF4', threads]),
    theirs: seconds(python, [here('peer/load.py'), folder, peerNf4, threads]),
  })).sort((a, b) => a.theirs / a.ours - b.theirs / b.ours)
  const { ours, theirs } = times[1]!
  measured({
    work: 'load-vs-transformers',
    peer: 'transformers + bitsandbytes',
    ratio: theirs / ours,
    unit: 's',
    ours,
    theirs,
  })
}
