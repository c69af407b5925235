/**
 * The engine beside its peers, in turns in one run: bench.json gets the rows. Ratios are medians of pairs; every process gets the same
 * threads and holds the same model folder. settings.ts says what can be chosen.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { instructionPathOf } from '../../trainer-image/model/compute-dtype.ts'
import { engineInfo } from '../../trainer-image/native/index.ts'
import { ggufPath, writeBase } from './base.ts'
import { type Factors, gemmShare, gemmShareWork, gemmShareWorks } from './engine/gemm-share.ts'
import { saveStall, saveStallWork } from './engine/save-stall.ts'
import { baseInClaim } from './engine/trainer-run.ts'
import { besidePeers } from './peers.ts'
import { writeProse } from './prose.ts'
import { type Bench, measureAll } from './report.ts'
import { chosen, isShort, withPeers } from './settings.ts'

const threads = availableParallelism()
const leastShareOfPeak = 0.6

/** What the trainer sees as its volume; the peers load the base from it. */
const claim = mkdtempSync(join(tmpdir(), 'humanizer-bench-'))
const base = join(claim, baseInClaim)
try {
  await writeBase(base)
  const prose = await writeProse(claim, isShort ? 1 : 16)
  const factors: Factors[] = engineInfo().instructionPaths.includes('avx512_bf16') ? ['f32', 'bf16'] : ['f32']
  const alone: Bench[] = [
    ...factors.map((of) => ({
      works: [gemmShareWorks[of]],
      measure: async () => [await gemmShare(base, threads, of)],
    })),
    { works: [saveStallWork], measure: async () => [await saveStall(claim, prose.datasetDigest)] },
  ]
  // torch computes bf16 on such processors in hardware; on the others it is seven times slower than f32.
  const bf16 = /\b(amx_bf16|avx512_bf16)\b/.test(readFileSync('/proc/cpuinfo', 'utf8'))
  const peers = withPeers ? besidePeers({ claim, base, gguf: ggufPath(), prose, threads, bf16 }) : []
  const benches = chosen([...alone, ...peers])

  const { oneDnnVersion } = engineInfo()
  console.log(
    `${cpus()[0]!.model}, ${threads} threads, ${instructionPathOf('Auto')}, oneDNN ${oneDnnVersion}; SmolLM2-135M, r 32 on seven targets; peers in ${bf16 ? 'bf16' : 'f32'}\n`,
  )
  const rows = await measureAll(benches)
  writeFileSync('bench.json', `${JSON.stringify(rows, null, 2)}\n`)
  const share = rows.find(({ work }) => work === gemmShareWork)?.ratio
  if (!isShort && share !== undefined && share < leastShareOfPeak) {
    console.error(`${gemmShareWork}: ${share.toFixed(3)}, wanted at least ${leastShareOfPeak}`)
    process.exitCode = 1
  }
} finally {
  rmSync(claim, { recursive: true, force: true })
}
