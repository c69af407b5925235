/** Writes llamacpp.json: the logits that llama.cpp computes with our GGUF adapter files, and the sums of these. Run it with `node`. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adapterFile, baseFile, families, tokens } from '../gguf-adapters.ts'

const here = import.meta.dirname
const peer = join(here, '..', '..', 'bench', 'peer')
const python = execFileSync(join(peer, 'environment.sh'), ['requirements-llamacpp.txt'], { encoding: 'utf8' }).trim()

/** float32, little-endian. */
const packed = (logits: readonly number[]): string => Buffer.from(Float32Array.from(logits).buffer).toString('base64')

const golden: Record<string, object> = {}
for (const family of families) {
  const folder = mkdtempSync(join(tmpdir(), 'llamacpp-'))
  const file = adapterFile(family)
  writeFileSync(join(folder, 'base.gguf'), baseFile(family))
  writeFileSync(join(folder, 'adapter.gguf'), file)
  const script = [join(here, 'make_llamacpp.py'), folder, JSON.stringify(tokens)]
  const output = execFileSync(python, script, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const { base, adapted } = JSON.parse(output) as { base: number[]; adapted: number[] }
  const sha256 = createHash('sha256').update(file).digest('hex')
  golden[family.name] = { adapter: sha256, base: packed(base), adapted: packed(adapted) }
  rmSync(folder, { recursive: true })
}
writeFileSync(join(here, 'llamacpp.json'), `${JSON.stringify(golden, null, 2)}\n`)
