import assert from 'node:assert/strict'
import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Source } from '#proto/humanizer/trainer/v1/preparation.ts'
import { freshFolders } from '../../test/fixtures/fresh-folders.ts'
import { jsonl, prose, proseFile } from '../../test/fixtures/sources.ts'
import { prepare } from './prepare.ts'
import { type Change, configOf, contextOf, rowsOf } from './preparing.ts'

const freshFolder = await freshFolders('source-')
const [someText, otherText] = prose as [string, string]

test('a folder is read in the order of its names, as a ConfigMap mounts it', async () => {
  const mount = await freshFolder()
  await mkdir(join(mount, '..2026'))
  await writeFile(join(mount, '..2026', 'b.jsonl'), jsonl([{ text: otherText }]))
  await writeFile(join(mount, '..2026', 'a.txt'), someText)
  await symlink('..2026', join(mount, '..data'))
  for (const name of ['a.txt', 'b.jsonl']) await symlink(`..data/${name}`, join(mount, name))
  await writeFile(join(mount, 'README.md'), someText)
  const dataDir = await freshFolder()
  const split = { trainPercent: 100, seed: 1 }
  const { location } = await prepare(configOf([{ filePath: mount }], { split }), contextOf(dataDir))
  assert.deepEqual(
    (await rowsOf(dataDir, location, 'train')).map(({ target }) => target),
    [someText, otherText],
  )
})

test('a link out of the folder is refused', async () => {
  const mount = await freshFolder()
  await symlink(proseFile, join(mount, 'secret.jsonl'))
  await assert.rejects(prepare(configOf([{ filePath: mount }]), contextOf(await freshFolder())), {
    reason: 'SourceInvalid',
    message: /secret\.jsonl is a link that leads out of/,
  })
})

test('a source that is itself a link out of its mount is refused, a file as well as a folder', async () => {
  const secrets = await freshFolder()
  await writeFile(join(secrets, 'token.txt'), someText)
  const mountPath = await freshFolder()
  await mkdir(join(mountPath, 'sub'))
  await symlink(join(secrets, 'token.txt'), join(mountPath, 'sub', 'token.txt'))
  await symlink(secrets, join(mountPath, 'folder'))
  for (const filePath of [
    join(mountPath, 'sub', 'token.txt'),
    join(mountPath, 'folder'),
    join(mountPath, 'folder', 'token.txt'),
  ])
    await assert.rejects(prepare(configOf([{ filePath, mountPath }]), contextOf(await freshFolder())), {
      reason: 'SourceInvalid',
      message: /is a link that leads out of/,
    })
  const noMount = { filePath: join(mountPath, 'sub', 'token.txt') }
  await assert.rejects(prepare(configOf([noMount]), contextOf(await freshFolder())), { reason: 'SourceInvalid' })
})

test('one key of a ConfigMap and a link that stays in its mount are read', async () => {
  const mountPath = await freshFolder()
  await mkdir(join(mountPath, '..2026'))
  await writeFile(join(mountPath, '..2026', 'a.txt'), someText)
  await symlink('..2026', join(mountPath, '..data'))
  await symlink('..data/a.txt', join(mountPath, 'a.txt'))
  await mkdir(join(mountPath, 'latest'))
  await symlink('../a.txt', join(mountPath, 'latest', 'a.txt'))
  for (const path of ['a.txt', 'latest/a.txt']) {
    const source = { filePath: join(mountPath, path), mountPath }
    assert.equal((await prepare(configOf([source]), contextOf(await freshFolder()))).counts?.read, 1)
  }
})

const refused = [
  {
    what: 'a path that does not exist',
    source: { filePath: '/nowhere/a.csv' },
    change: {},
    reason: 'NotFound',
    message: /sources\[\]\.volume\.path: .*\/nowhere\/a\.csv does not exist; expected a file or folder/,
  },
  {
    what: 'an undeclared licence under requireDeclared',
    source: { filePath: proseFile, license: '' },
    change: { licensePolicy: { requireDeclared: true, allowed: [] } },
    reason: 'SourceInvalid',
    message:
      /source s0: license is undeclared; expected a declared one: set .* or licensePolicy\.requireDeclared to false/,
  },
  {
    what: 'an undeclared licence where some are allowed',
    source: { filePath: proseFile, license: '' },
    change: { licensePolicy: { requireDeclared: false, allowed: ['MIT', 'CC0-1.0'] } },
    reason: 'SourceInvalid',
    message: /license is undeclared; expected one of MIT, CC0-1\.0: set sources\[\]\.license when you have checked it$/,
  },
  {
    what: 'a licence that is not allowed',
    source: { filePath: proseFile },
    change: { licensePolicy: { requireDeclared: false, allowed: ['MIT'] } },
    reason: 'SourceInvalid',
    message: /source s0: license "CC0-1.0" .*MIT/,
  },
  {
    what: 'an address with a bare %',
    source: { http: { url: 'https://example.org/100%.csv', sha256: '0'.repeat(64) } },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /sources\[\]\.http\.url is "https:\/\/example\.org\/100%\.csv"/,
  },
  {
    what: 'an address that is none',
    source: { http: { url: 'example.org', sha256: '0'.repeat(64) } },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /sources\[\]\.http\.url is "example\.org"/,
  },
  {
    what: 'a format nobody knows',
    source: { filePath: proseFile, format: 'XML' },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /format is "XML"/,
  },
  {
    what: 'a name that leaves the folder',
    source: { filePath: proseFile, name: '../x' },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /sources\[\]\.name is "\.\.\/x"/,
  },
  {
    what: 'a template without {text}',
    source: { filePath: proseFile },
    change: { format: { sample: 'Denoise', systemPrompt: '', userTemplate: 'x' } },
    reason: 'ConfigurationInvalid',
    message: /userTemplate is "x"/,
  },
  {
    what: 'a licence card behind a dead network',
    source: { huggingFace: { repository: 'a/b', revision: '', files: [], tokenFile: '/nowhere' } },
    change: {},
    reason: 'ConfigurationInvalid',
    message: /\/nowhere/,
  },
] as const
for (const { what, source: given, change, reason, message } of refused)
  test(`${what}: ${reason}`, async () => {
    const config = configOf([given as unknown as Partial<Source>], change as Change)
    await assert.rejects(prepare(config, contextOf(await freshFolder())), { reason, message })
  })
