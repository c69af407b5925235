import assert from 'node:assert/strict'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
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

const environment = {
  threads: 2,
  instructionPath: 'avx2' as const,
  oneDnnVersion: '3.9',
  compiler: 'gcc',
  arithmetic: 2,
  node: 'v24',
  microBatchSize: 4,
}
const facts = { base, environment, exact: true, templateDate: '26 Jul 2024' }
const write = (step: number, files: Record<string, string> = {}, evaluation?: EvaluationResult) =>
  writeCheckpoint(run, { ...facts, step, evaluation }, async (directory) => {
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
    writeCheckpoint(run, { ...facts, step: 5, evaluation: undefined }, async () => {
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

test('what serving and a resume must know stands in the manifest', async () => {
  const { directory } = await write(5)
  const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8'))
  assert.deepEqual(
    [manifest.step, manifest.base, manifest.environment, manifest.exact, manifest.templateDate],
    [5, base, environment, true, '26 Jul 2024'],
  )
})

/** Runs work; the rename of this ordinal and everything after it fails, as if the process had ended. */
async function cutShortAt(ordinal: number, work: () => Promise<unknown>): Promise<'cut short' | 'done'> {
  const { rename, rm } = fs
  let renames = 0
  const alive = async <T>(operation: () => Promise<T>): Promise<T> => {
    if (renames >= ordinal) throw new Error('killed')
    return operation()
  }
  Object.assign(fs, {
    rm: (...args: Parameters<typeof rm>) => alive(() => rm(...args)),
    rename: (...args: Parameters<typeof rename>) => {
      renames += 1
      return alive(() => rename(...args))
    },
  })
  syncBuiltinESMExports()
  try {
    await work()
    return 'done'
  } catch {
    return 'cut short'
  } finally {
    Object.assign(fs, { rename, rm })
    syncBuiltinESMExports()
  }
}

test('trap 13: replacing a checkpoint of the same step, cut short anywhere, leaves the old or the new one whole', async () => {
  const steps: (string | number | undefined)[] = []
  for (let ordinal = 1; ; ordinal++) {
    await write(5)
    const ended = await cutShortAt(ordinal, () => write(5, {}, EvaluationResult.fromPartial({ loss: 1 })))
    const found = await find()
    assert.deepEqual(
      found.map(({ step }) => step),
      [5],
      `cut short at rename ${ordinal}`,
    )
    assert.deepEqual(readdirSync(run), ['checkpoint-5'])
    steps.push(found[0]?.evaluation?.loss)
    if (ended === 'done') break
  }
  assert.deepEqual(broken, [])
  assert.deepEqual(new Set(steps), new Set([undefined, 1]))
})

test('a checkpoint that waits aside comes back when the one of its name is broken', async () => {
  const { directory } = await write(5)
  renameSync(directory, `${directory}.replaced`)
  cpSync(`${directory}.replaced`, directory, { recursive: true })
  writeFileSync(join(directory, 'optimizer.safetensors'), 'X')
  const found = await find()
  assert.deepEqual([found.map(({ step }) => step), broken], [[5], ['checkpoint-5']])
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
  test(`trap 13: a checkpoint that ${damage} is skipped, told of and swept`, async () => {
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
  const checkpoints = new Checkpoints(run, [], 1)
  for (const step of [5, 10, 15, 20]) await checkpoints.add(await write(step), 10)
  assert.deepEqual(readdirSync(run).sort(), ['checkpoint-10', 'checkpoint-20'])
  assert.deepEqual(
    checkpoints.report(10).map(({ name, path, best }) => [name, path, best]),
    [
      ['checkpoint-10', 'checkpoint-10', true],
      ['checkpoint-20', 'checkpoint-20', false],
    ],
  )
})
