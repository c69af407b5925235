import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { DesiredAdapter, ServeConfig } from '#proto/humanizer/trainer/v1/serving.ts'
import { copyTinyLlama, sealAdapter } from '../../test/fixtures/adapter.ts'
import { readGguf } from '../model/gguf.ts'
import { hexOf } from '../storage/digest.ts'
import { type Manifest, verifySealed } from '../storage/sealed.ts'

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'humanizer-tools-'))
const [base, data] = [join(root, 'models', 'tiny'), root]
let adapter: string
let manifest: Manifest

before(async () => {
  mkdirSync(base, { recursive: true })
  copyTinyLlama(base)
  const fresh = join(root, 'adapters', 'fresh')
  manifest = await sealAdapter(base, fresh, { rank: 4, alpha: 8, targetModules: ['q_proj', 'down_proj'] })
  adapter = join(root, 'adapters', hexOf(manifest.digest))
  renameSync(fresh, adapter)
})
after(() => rmSync(root, { recursive: true }))

const run = (...args: string[]) => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'gguf', ...args], { maxBuffer: 1 << 26 })
  return { status, stdout, stderr: String(stderr) }
}

test('gguf writes the adapter that is named as llama.cpp’s file, which says what it is of', async () => {
  const output = join(root, 'adapter.gguf')
  const { status, stderr } = run('--base', base, '--adapter', adapter, '--output', output)
  assert.equal(status, 0, stderr)
  const { metadata, tensors } = await readGguf(output)
  const said = (key: string) => metadata.get(key)
  assert.deepEqual(['general.architecture', 'general.type', 'adapter.type', 'adapter.lora.alpha'].map(said), [
    'llama',
    'adapter',
    'lora',
    8,
  ])
  assert.equal(said('humanizer.adapter.digest'), manifest.digest)
  assert.equal(said('humanizer.base.digest'), ((await verifySealed(adapter)).base as { digest: string }).digest)
  const names = [0, 1].flatMap((layer) =>
    ['attn_q', 'ffn_down'].flatMap((part) => ['a', 'b'].map((half) => `blk.${layer}.${part}.weight.lora_${half}`)),
  )
  assert.deepEqual([...tensors.keys()], names)
})

test('in a serving pod gguf prints what it was told to serve, and nothing else', () => {
  const [config, desired] = [join(root, 'config.json'), join(root, 'desired.json')]
  writeFileSync(config, JSON.stringify(ServeConfig.toJSON(ServeConfig.fromPartial({ model: { path: 'models/tiny' } }))))
  const told = (digest: string) =>
    writeFileSync(desired, JSON.stringify(DesiredAdapter.toJSON(DesiredAdapter.fromPartial({ generation: 1, digest }))))
  const pod = ['--data', data, '--config', config, '--desired', desired]
  told(manifest.digest)
  const { status, stdout, stderr } = run(...pod)
  assert.equal(status, 0, stderr)
  const output = join(root, 'again.gguf')
  run('--base', base, '--adapter', adapter, '--output', output)
  assert.deepEqual(stdout, readFileSync(output))
  told('')
  const nothing = run(...pod)
  assert.deepEqual([nothing.status, nothing.stdout.length], [66, 0])
  assert.match(nothing.stderr, /^NotFound: .*desired\.json names no adapter: the untouched base serves/)
})

test('gguf refuses an adapter of another base, and one whose bytes changed', async () => {
  const other = join(root, 'other')
  await sealAdapter(base, other, { rank: 4, alpha: 8, targetModules: ['q_proj'] }, `sha256:${'0'.repeat(64)}`)
  const strange = run('--base', base, '--adapter', other)
  assert.deepEqual([strange.status, strange.stdout.length], [65, 0])
  assert.match(strange.stderr, /^SourceInvalid: .*expected sha256:0{64}/)
  writeFileSync(join(other, 'adapter_model.safetensors'), 'damaged')
  const damaged = run('--base', base, '--adapter', other)
  assert.equal(damaged.status, 65)
  assert.match(damaged.stderr, /adapter_model\.safetensors has 7 bytes/)
  assert.match(run('--base', base).stderr, /^ConfigurationInvalid: --base and --adapter go together/)
})
