import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { copyTinyLlama, loadPlain, sealAdapter } from '../../test/fixtures/adapter.ts'
import { sumModel } from '../model/identity.ts'
import { openModel } from '../model/open.ts'
import { readAdapter } from '../model/peft.ts'
import { encodeSafetensors, readBytes, readSafetensorsHeader } from '../model/safetensors.ts'
import { chatTemplateName } from '../storage/adapter-identity.ts'
import { hexOf } from '../storage/digest.ts'
import { verifySealed } from '../storage/sealed.ts'
import { writeMergedModel } from './merged-model.ts'

const targets = ['q_proj', 'down_proj'] as const
const lora = { rank: 4, alpha: 8, targetModules: targets }

suite('a merged model', () => {
  let root: string
  let base: string
  let adapter: string
  let merged: string
  let parent: string

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), 'merge-'))
    ;[base, adapter, parent] = ['base', 'adapter', 'merged'].map((name) => join(root, name)) as [string, string, string]
    copyTinyLlama(base)
    await shard(base)
    await sealAdapter(base, adapter, lora)
  })
  afterEach(() => rmSync(root, { recursive: true }))

  test('is the base’s folder, shard by shard, with other bytes in the targets alone, and says what it is made of', async () => {
    const manifest = await writeMergedModel(base, adapter, parent)
    merged = join(parent, hexOf(manifest.digest))
    assert.deepEqual(await verifySealed(merged), manifest)
    assert.equal(manifest.base, (await sumModel(await openModel(base))).digest)
    assert.equal(manifest.adapter, (await verifySealed(adapter)).digest)
    assert.equal(readFileSync(join(merged, chatTemplateName), 'utf8'), '{{ messages[0].content }}')
    assert.deepEqual(readdirSync(parent), [hexOf(manifest.digest)])
    assert.equal(manifest.digest, (await sumModel(await openModel(merged))).digest, 'its own digest is that of a base')
    const shards = readdirSync(base).filter((name) => name.endsWith('.safetensors'))
    assert.equal(shards.length, 2)
    for (const name of shards) {
      const [before, after] = [
        await readSafetensorsHeader(join(base, name)),
        await readSafetensorsHeader(join(merged, name)),
      ]
      assert.deepEqual(after.tensors, before.tensors)
      for (const tensor of before.tensors.keys()) {
        const same = Buffer.from(await readBytes(before, tensor)).equals(await readBytes(after, tensor))
        assert.equal(same, !targets.some((target) => tensor.includes(target)), tensor)
      }
    }
  })

  const scales = [
    { scaled: 'by alpha / rank', alpha: 8, rankStabilized: false },
    { scaled: 'by alpha / √rank', alpha: 4, rankStabilized: true },
  ]
  for (const { scaled, ...scale } of scales)
    test(`computes what the base with the adapter does, ${scaled}, within the rounding of bfloat16`, async () => {
      await sealAdapter(base, adapter, { ...lora, ...scale })
      merged = join(parent, hexOf((await writeMergedModel(base, adapter, parent)).digest))
      const tokens = Int32Array.from({ length: 40 }, (_, i) => 3 + ((i * 37) % 590))
      const labels = Int32Array.from(tokens, (_, i) => tokens[i + 1] ?? -100)
      const offsets = Int32Array.of(0, 40)
      const batch = { tokens, labels, documents: offsets, sequences: offsets, sequenceOrdinals: Int32Array.of(0) }
      const [plain, whole] = [await loadPlain(base), await loadPlain(merged)]
      const { config, tensors } = await readAdapter(adapter, plain.architecture)
      const beside = await plain.evaluate(await plain.loadAdapter({ ...config, seed: 0 }, tensors), batch)
      const without = await plain.evaluate(undefined, batch)
      const inside = await whole.evaluate(undefined, batch)
      plain.close()
      whole.close()
      const apart = (nll: Float64Array) => Math.abs(nll[0]! / beside.nll[0]! - 1)
      assert.ok(apart(inside.nll) < 2e-3, `${inside.nll} and ${beside.nll}`)
      assert.ok(apart(without.nll) > 1e-2, `${without.nll} and ${beside.nll}`)
    })

  test('is refused for another base than the adapter’s, and nothing is left behind', async () => {
    await sealAdapter(base, adapter, lora, `sha256:${'0'.repeat(64)}`)
    await assert.rejects(writeMergedModel(base, adapter, parent), {
      reason: 'SourceInvalid',
      message: /base is sha256:[0-9a-f]{64}; expected sha256:0{64}, which .*adapter was trained on/,
    })
    assert.deepEqual(existsSync(parent) ? readdirSync(parent) : [], [])
  })
})

/** The fixture's one file as two shards. */
async function shard(folder: string): Promise<void> {
  const path = join(folder, 'model.safetensors')
  const file = await readSafetensorsHeader(path)
  const names = [...file.tensors.keys()]
  const map: Record<string, string> = {}
  for (const [i, part] of [names.slice(0, 9), names.slice(9)].entries()) {
    const tensors = []
    for (const name of part) {
      const { dtype, shape } = file.tensors.get(name)!
      tensors.push({ name, dtype, shape, data: await readBytes(file, name) })
      map[name] = `model-0000${i + 1}-of-00002.safetensors`
    }
    writeFileSync(join(folder, map[part[0]!]!), Buffer.concat(encodeSafetensors(tensors, { format: 'pt' })))
  }
  rmSync(path)
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }))
}
