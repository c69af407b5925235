/** Writes llamacpp.json: the logits that llama.cpp computes with our GGUF files, the tokens that it cuts texts into, and the sums of the files. Run it with `node`. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { readMergedAsGguf } from '../../../trainer-image/model/gguf-model.ts'
import { adapterFile, baseFile, families, sealedTinyLlama, sourcesOf, text, tokens, whole } from '../gguf-adapters.ts'
import { sentencePieces, textsOf, vocabularyFile } from '../gguf-tokenizers.ts'

const here = import.meta.dirname
const peer = join(here, '..', '..', 'bench', 'peer')
const python = execFileSync(join(peer, 'environment.sh'), ['requirements-llamacpp.txt'], { encoding: 'utf8' }).trim()

/** float32, little-endian. */
const packed = (logits: readonly number[]): string => Buffer.from(Float32Array.from(logits).buffer).toString('base64')

interface Answer {
  readonly tokens: number[] | number[][]
  readonly base: number[]
  readonly adapted?: number[]
}

/** What llama.cpp says of these files. */
async function ask(prompt: readonly number[] | string | readonly string[], files: (folder: string) => Promise<Record<string, Buffer>>) {
  const folder = mkdtempSync(join(tmpdir(), 'llamacpp-'))
  const written = await files(folder)
  const sums: Record<string, string> = {}
  for (const [name, bytes] of Object.entries(written)) {
    writeFileSync(join(folder, `${name}.gguf`), bytes)
    sums[name] = createHash('sha256').update(bytes).digest('hex')
  }
  const script = [join(here, 'make_llamacpp.py'), folder, JSON.stringify(prompt)]
  const output = execFileSync(python, script, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  rmSync(folder, { recursive: true })
  const { tokens, base, adapted } = JSON.parse(output) as Answer
  return { sums, tokens, base: packed(base), adapted: packed(adapted ?? []) }
}

const golden: Record<string, object> = {}
for (const family of families) {
  const { sums, base, adapted } = await ask(tokens, async (folder) => ({
    base: await baseFile(family, sourcesOf(family, join(folder, 'weights'))),
    adapter: adapterFile(family),
  }))
  golden[family.title] = { sums, base, adapted }
}
for (const quantized of [false, true]) {
  const answer = await ask(text, async (folder) => {
    const { read } = await readMergedAsGguf(await sealedTinyLlama(join(folder, 'tiny')), quantized)
    return { base: await whole(read()) }
  })
  golden[quantized ? 'merged Q8_0' : 'merged'] = { sums: answer.sums, tokens: answer.tokens, base: answer.base }
}
for (const [family, size] of sentencePieces) {
  const { sums, tokens } = await ask(textsOf(family), async () => ({ base: await vocabularyFile(family, size) }))
  golden[family] = { sums, tokens: (tokens as number[][]).map((ids) => ids.join(' ')) }
}
writeFileSync(join(here, 'llamacpp.json'), `${JSON.stringify(golden, null, 2)}\n`)
