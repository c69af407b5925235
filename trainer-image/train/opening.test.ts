import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { sumModel } from '../model/identity.ts'
import { openModel } from '../model/open.ts'
import { seal } from '../storage/sealed.ts'
import type { CheckedConfig } from './configuration.ts'
import { openBase } from './opening.ts'

const fixture = fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url))
const { digest } = await sumModel(await openModel(fixture))

let dataDir: string
let folder: string
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'opening-'))
  folder = join(dataDir, 'models/tiny')
  cpSync(fixture, folder, { recursive: true })
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const open = (path = 'models/tiny') => openBase({ model: { path, digest } } as CheckedConfig, dataDir)

function flipLastBit(name: string): void {
  const bytes = readFileSync(join(folder, name))
  bytes[bytes.length - 1]! ^= 1
  writeFileSync(join(folder, name), bytes)
}

test('the base that is named opens, on the claim and on a volume of the user', async () => {
  assert.equal((await open()).architecture.family, 'llama')
  assert.equal((await open(folder)).architecture.family, 'llama')
})

test('whoever watches sees that the bytes of the base are read', async () => {
  let beats = 0
  await openBase({ model: { path: 'models/tiny', digest } } as CheckedConfig, dataDir, undefined, () => void beats++)
  assert.ok(beats >= 4, `${beats} beats for as many files`)
})

test('a base without a chat template is SourceInvalid unless the dataset brings one', async () => {
  const path = join(folder, 'tokenizer_config.json')
  const { chat_template: _, ...rest } = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify(rest))
  const { digest } = await sumModel(await openModel(folder))
  const config = { model: { path: 'models/tiny', digest } } as CheckedConfig
  await assert.rejects(openBase(config, dataDir), { reason: 'SourceInvalid', message: /spec\.format\.chatTemplate/ })
  assert.equal((await openBase(config, dataDir, 'given')).chatTemplate.source, 'given')
})

for (const place of ['sealed', 'on a volume of the user'])
  test(`a base ${place} with one bit flipped is SourceInvalid, naming both digests`, async () => {
    if (place === 'sealed') await seal(folder, digest)
    flipLastBit('model.safetensors')
    await assert.rejects(open(), {
      reason: 'SourceInvalid',
      message: new RegExp(`models/tiny holds base sha256:[0-9a-f]{64}; expected ${digest}`),
    })
  })
