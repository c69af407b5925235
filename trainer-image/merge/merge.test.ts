import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { JobResult } from '#proto/humanizer/trainer/v1/job_result.ts'
import { MergeConfig } from '#proto/humanizer/trainer/v1/merge.ts'
import { copyTinyLlama, sealAdapter } from '../../test/fixtures/adapter.ts'
import { encodeGguf, tinyLlamaGguf } from '../../test/fixtures/gguf.ts'
import { sumModel } from '../model/identity.ts'
import { openModel } from '../model/open.ts'
import { hexOf } from '../storage/digest.ts'
import { ownersOf } from '../storage/owners.ts'
import { verifySealed } from '../storage/sealed.ts'
import { judge, toleratedError } from './proof.ts'

const main = fileURLToPath(new URL('../main.ts', import.meta.url))
const lora = { rank: 4, alpha: 8, targetModules: ['q_proj', 'down_proj'] as const }

suite('the command merge', () => {
  let data: string
  let base: string
  let adapter: string
  const checkpoint = 'runs/team/prose/uid/checkpoint-3'

  beforeEach(async () => {
    data = mkdtempSync(join(tmpdir(), 'humanizer-merge-'))
    base = join(data, 'models/tiny')
    mkdirSync(base, { recursive: true })
    copyTinyLlama(base)
    adapter = (await sealAdapter(base, join(data, checkpoint), lora)).digest
  })
  afterEach(() => rmSync(data, { recursive: true }))

  async function merge(changes: Partial<MergeConfig> = {}): Promise<{ status: number | null; result: JobResult }> {
    const [config, log] = [join(data, 'config.json'), join(data, 'termination-log')]
    const wanted = MergeConfig.fromPartial({
      owner: { namespace: 'team', name: 'writer', uid: 'release-uid' },
      attempt: 2,
      model: { path: 'models/tiny', digest: (await sumModel(await openModel(base))).digest, name: 'tiny' },
      digest: adapter,
      sourcePath: checkpoint,
      reclaim: { kind: 'AdapterRelease', policy: 'Delete', createdTime: '2026-01-01T00:00:00Z' },
      ...changes,
    })
    writeFileSync(config, JSON.stringify(MergeConfig.toJSON(wanted)))
    const { status } = spawnSync(process.execPath, [
      ...[main, 'merge', '--config', config, '--data', data, '--termination-log', log],
    ])
    return { status, result: JobResult.fromJSON(JSON.parse(readFileSync(log, 'utf8'))) }
  }

  test('leaves a folder that is a base of its own, promoted from the run and proven, and tells so', async () => {
    const { status, result } = await merge()
    assert.deepEqual([status, result.reason, result.ownerUid, result.attempt], [0, 'Completed', 'release-uid', 2])
    const { model, adapterDigest, bytes, logitError, adapterEffect } = result.merge!
    const folder = join(data, model!.path)
    assert.equal(model!.path, `merged/${hexOf(model!.digest)}`)
    assert.equal((await sumModel(await openModel(folder))).digest, model!.digest)
    assert.equal(adapterDigest, adapter)
    assert.ok(bytes > 100_000)
    assert.ok(logitError > 0 && logitError < 0.01, `${logitError}`)
    assert.ok(adapterEffect > 10 * logitError, `${adapterEffect}`)
    assert.equal((await verifySealed(folder)).adapter, adapter)
    assert.deepEqual(
      (await ownersOf(folder))?.map(({ uid, reclaimPolicy }) => [uid, reclaimPolicy]),
      [['release-uid', 'Delete']],
    )
    assert.deepEqual(readdirSync(join(data, 'adapters')), [hexOf(adapter)])
  })

  test('tells again what is merged already, without the run and for another attempt', async () => {
    const first = await merge()
    rmSync(join(data, 'runs'), { recursive: true })
    const { status, result } = await merge({ attempt: 3, sourcePath: '' })
    assert.deepEqual([status, result.merge], [0, first.result.merge])
    assert.equal(readdirSync(join(data, 'merged')).length, 1)
  })

  test('makes again what was damaged since, with the same digest', async () => {
    const first = await merge()
    const folder = join(data, first.result.merge!.model!.path)
    appendFileSync(join(folder, 'model.safetensors'), 'x')
    const { status, result } = await merge()
    assert.deepEqual([status, result.merge], [0, first.result.merge])
    await verifySealed(folder)
  })

  test('ends with a typed failure for a base without 16-bit weights and an adapter that is not there', async () => {
    const { metadata, tensors } = tinyLlamaGguf(base)
    writeFileSync(join(data, 'models/base.gguf'), encodeGguf(metadata, tensors))
    const { digest } = await sumModel(await openModel(join(data, 'models/base.gguf')))
    const gguf = await merge({ model: { path: 'models/base.gguf', digest, name: 'g', revision: '' } })
    assert.deepEqual([gguf.status, gguf.result.reason], [65, 'SourceInvalid'])
    assert.match(gguf.result.message, /base\.gguf is a GGUF file; expected a Hugging Face folder/)
    const missing = await merge({ digest: `sha256:${'0'.repeat(64)}`, sourcePath: 'runs/none' })
    assert.deepEqual([missing.status, missing.result.reason], [66, 'NotFound'])
    assert.deepEqual(missing.result.merge, undefined)
  })
})

const proofs = [
  { proof: 'a merge within rounding', logitError: 0.002, adapterEffect: 0.3, says: undefined },
  { proof: 'a merge of other weights', logitError: 2 * toleratedError, adapterEffect: 0.3, says: /10 %.*at most 5 %/ },
  {
    proof: 'an adapter that rounding loses',
    logitError: 0.004,
    adapterEffect: 0.006,
    says: /rounding loses the adapter/,
  },
  { proof: 'logits that are no numbers', logitError: Number.NaN, adapterEffect: 0.3, says: /NaN/ },
]
for (const { proof, says, ...figures } of proofs)
  test(`${proof} is ${says ? 'refused' : 'taken'}`, () => {
    if (!says) judge(figures)
    else assert.throws(() => judge(figures), { reason: 'VerificationFailed', message: says })
  })
