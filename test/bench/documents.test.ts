/** What docs/benchmarks.md says of the programs: its commands are known, the short one runs, and its table has their rows. The figures are nobody's test. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { blocksOf } from '../cluster/commands.ts'
import { dataAlone, dataBesidePeers } from './data/benches.ts'
import { gemmShareWorks } from './engine/gemm-share.ts'
import { saveStallWork } from './engine/save-stall.ts'
import { besidePeers } from './peers.ts'

const root = join(import.meta.dirname, '..', '..')
const document = readFileSync(join(root, 'docs/benchmarks.md'), 'utf8')

/** Without the peers, which are 6 GB, and without the make that runs the tests. */
const env = { ...process.env, SHORT: '1', PEERS: 'none', MAKELEVEL: undefined, MAKEFLAGS: undefined }
const commands = blocksOf(document).flatMap((block) => block.split('\n'))

/** Typed here, by the works that they measure. The others take minutes of an idle machine. */
const typed: Readonly<Record<string, readonly string[]>> = {
  'make bench SUITE=engine PEERS=none ROWS=save PAIRS=1': [saveStallWork],
  'make bench SUITE=data PEERS=none DOCUMENTS=20000 MEGABYTES=40': dataAlone('', 1).flatMap(({ works }) => works),
}
const measuring = ['engine', 'profile', 'ablation', 'data', 'release'].map((suite) => `make bench SUITE=${suite}`)

test('every command of docs/benchmarks.md is known here', () => {
  assert.deepEqual(commands.toSorted(), [...measuring, ...Object.keys(typed)].toSorted())
})

for (const [command, works] of Object.entries(typed))
  test(command, async () => {
    await promisify(execFile)('bash', ['-euc', command], { cwd: root, env, timeout: 300_000 })
    const rows: { work: string; ratio: number }[] = JSON.parse(readFileSync(join(root, 'bench.json'), 'utf8'))
    assert.deepEqual(
      rows.map(({ work }) => work),
      works,
    )
    for (const { work, ratio } of rows) assert.ok(ratio > 0, work)
  })

test('the table of docs/benchmarks.md has a row for every work of the suites, and no other', () => {
  const prose = { datasetDigest: '', rows: '', examples: [], tokens: 0 }
  const setting = { claim: '', base: '', gguf: '', prose, threads: 1, bf16: true }
  const benches = [...besidePeers(setting), ...dataBesidePeers('', 1), ...dataAlone('', 1)]
  const works = [...Object.values(gemmShareWorks), saveStallWork, ...benches.flatMap((bench) => bench.works)]
  const told = [...document.matchAll(/^\| ([a-z]+-[^|]+?) \|/gm)].map(([, work]) => work)
  assert.deepEqual(told.toSorted(), works.toSorted())
})
