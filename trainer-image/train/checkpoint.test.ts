import assert from 'node:assert/strict'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { EvaluationResult } from '#proto/humanizer/trainer/v1/run.ts'
import { findCheckpoints, writeCheckpoint } from './checkpoint.ts'
import { Checkpoints } from './checkpoints.ts'

const base = {
  digest: `sha256:${'b'.repeat(64)}`,
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
}
let run = ''
let broken: string[] = []
beforeEach(() => {
  run = mkdtempSync(join(tmpdir(), 'run-'))
  broken = []
})
afterEach(() => rmSync(run, { recursive: true }))

const write = (step: number, files: Record<string, string> = {}, evaluation?: EvaluationResult) =>
  writeCheckpoint(run, step, base, evaluation, async (directory) => {
    const content = { 'adapter_model.safetensors': `weights ${step}`, 'optimizer.safetensors': 'moments', ...files }
    for (const [name, text] of Object.entries(content)) writeFileSync(join(directory, name), text)
  })
const find = () => findCheckpoints(run, (name) => broken.push(name))

test('what was written is found again, oldest first, with its evaluation', async () => {
  const evaluation = EvaluationResult.fromPartial({ step: 20, loss: 1.5, labelTokens: 100 })
  const twenty = await write(20, {}, evaluation)
  const five = await write(5)
  assert.deepEqual(await find(), [five, twenty])
  assert.equal((await find())[1]?.evaluation?.loss, 1.5)
  assert.deepEqual(broken, [])
})

test('the digest is that of the adapter: optimizer and evaluation do not change it, weights do', async () => {
  const one = await write(5)
  const again = await write(5, { 'optimizer.safetensors': 'other' }, EvaluationResult.fromPartial({ loss: 1 }))
  const other = await write(5, { 'adapter_model.safetensors': 'other' })
  assert.equal(again.digest, one.digest)
  assert.notEqual(other.digest, one.digest)
  assert.deepEqual(readdirSync(run), ['checkpoint-5'])
})

test('a write that fails leaves neither a checkpoint nor a leftover, and the old one of its step stays', async () => {
  await write(5)
  await assert.rejects(
    writeCheckpoint(run, 5, base, undefined, async () => {
      throw new Error('disk full')
    }),
    /disk full/,
  )
  assert.deepEqual(
    (await find()).map(({ step }) => step),
    [5],
  )
  assert.deepEqual(readdirSync(run), ['checkpoint-5'])
})

const damages: { damage: string; cause: (directory: string) => void }[] = [
  { damage: 'was never sealed', cause: (directory) => rmSync(join(directory, 'manifest.json')) },
  { damage: 'lacks a file', cause: (directory) => rmSync(join(directory, 'optimizer.safetensors')) },
  {
    damage: 'has changed bytes',
    cause: (directory) => writeFileSync(join(directory, 'adapter_model.safetensors'), 'weights X'),
  },
  { damage: 'has a cut file', cause: (directory) => writeFileSync(join(directory, 'adapter_model.safetensors'), 'w') },
  {
    damage: 'has a manifest that is no JSON',
    cause: (directory) => writeFileSync(join(directory, 'manifest.json'), '{'),
  },
]
for (const { damage, cause } of damages)
  test(`a checkpoint that ${damage} is skipped, told of and swept`, async () => {
    await write(5)
    const { directory } = await write(10)
    cause(directory)
    assert.deepEqual(
      (await find()).map(({ step }) => step),
      [5],
    )
    assert.deepEqual(broken, ['checkpoint-10'])
    assert.equal(existsSync(directory), false)
  })

test('leftovers of an interrupted write are swept without a word; other folders and the beat of the lock are left alone', async () => {
  mkdirSync(join(run, '.checkpoint-10.abc.tmp'))
  writeFileSync(join(run, '.writer.lock.abc.tmp'), '')
  mkdirSync(join(run, 'tensorboard'))
  await find()
  assert.deepEqual(readdirSync(run), ['.writer.lock.abc.tmp', 'tensorboard'])
  assert.deepEqual(broken, [])
})

test('adding a checkpoint removes what no rule keeps, from disk too', async () => {
  const checkpoints = new Checkpoints(run, [], { keep: 1, protectedDigests: [(await write(5)).digest] })
  for (const step of [5, 10, 15, 20]) await checkpoints.add(await write(step), 10)
  assert.deepEqual(readdirSync(run).sort(), ['checkpoint-10', 'checkpoint-20', 'checkpoint-5'])
  assert.deepEqual(
    checkpoints.report(10).map(({ name, path, best }) => [name, path, best]),
    [
      ['checkpoint-5', 'checkpoint-5', false],
      ['checkpoint-10', 'checkpoint-10', true],
      ['checkpoint-20', 'checkpoint-20', false],
    ],
  )
})
