import assert from 'node:assert/strict'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { isTemporary, temporaryName, writeFileAtomic } from './atomic.ts'
import { canonicalJson, digestOf, hexOf, sha256 } from './digest.ts'
import { readManifest, SealBroken, seal, sumsOnly, verifySealed } from './sealed.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sealed-'))
  writeFileSync(join(folder, 'a.txt'), 'alpha')
  mkdirSync(join(folder, 'sub'))
  writeFileSync(join(folder, 'sub/b.txt'), 'beta')
})
afterEach(() => rmSync(folder, { recursive: true }))

test('a manifest lists every file by its sum and size, and the facts of its owner', async () => {
  writeFileSync(join(folder, temporaryName('a.txt')), 'leftover')
  const manifest = await seal(folder, (files) => digestOf(sumsOnly(files)), { step: 7 })
  assert.deepEqual(manifest.files, {
    'a.txt': { sha256: sha256('alpha'), bytes: 5 },
    'sub/b.txt': { sha256: sha256('beta'), bytes: 4 },
  })
  assert.equal(manifest.digest, digestOf({ 'a.txt': sha256('alpha'), 'sub/b.txt': sha256('beta') }))
  assert.equal(manifest.step, 7)
  assert.deepEqual(await verifySealed(folder), manifest)
})

test('read-only files of a folder can be sealed, as one finds them in a base model', async () => {
  for (const name of ['a.txt', 'sub/b.txt']) chmodSync(join(folder, name), 0o444)
  const isRoot = process.getuid!() === 0 // may write everything, so it must be somebody else
  const nobody = 65534
  if (isRoot) for (const name of ['', 'a.txt', 'sub', 'sub/b.txt']) chownSync(join(folder, name), nobody, nobody)
  if (isRoot) process.seteuid!(nobody)
  try {
    await seal(folder, 'x')
  } finally {
    if (isRoot) process.seteuid!(0)
  }
  assert.equal((await verifySealed(folder)).digest, 'x')
})

const damages: { damage: string; cause: () => void; words: RegExp }[] = [
  {
    damage: 'a changed byte',
    cause: () => writeFileSync(join(folder, 'a.txt'), 'alphb'),
    words: /a\.txt has sha256 .*; the manifest says/,
  },
  {
    damage: 'a cut file',
    cause: () => writeFileSync(join(folder, 'a.txt'), 'alp'),
    words: /a\.txt has 3 bytes; the manifest says 5/,
  },
  { damage: 'a missing file', cause: () => rmSync(join(folder, 'sub/b.txt')), words: /b\.txt is missing/ },
  { damage: 'no manifest', cause: () => rmSync(join(folder, 'manifest.json')), words: /was never sealed/ },
  {
    damage: 'a manifest that is no JSON',
    cause: () => writeFileSync(join(folder, 'manifest.json'), '{"version":1'),
    words: /is not JSON/,
  },
  {
    damage: 'a manifest that is null',
    cause: () => writeFileSync(join(folder, 'manifest.json'), 'null'),
    words: /not a manifest of version 1/,
  },
  {
    damage: 'a manifest of another version',
    cause: () => writeFileSync(join(folder, 'manifest.json'), '{"version":2,"digest":"x","files":{}}'),
    words: /not a manifest of version 1/,
  },
  {
    damage: 'a manifest that points outside',
    cause: () =>
      writeFileSync(
        join(folder, 'manifest.json'),
        '{"version":1,"digest":"x","files":{"../x":{"sha256":"y","bytes":1}}}',
      ),
    words: /bad entry "\.\.\/x"/,
  },
]
for (const { damage, cause, words } of damages)
  test(`${damage} breaks the seal`, async () => {
    await seal(folder, 'sha256:x')
    cause()
    await assert.rejects(verifySealed(folder), (error) => error instanceof SealBroken && words.test(error.message))
  })

test('a folder without a manifest, or that is not there, has none', async () => {
  assert.equal(await readManifest(folder), undefined)
  assert.equal(await readManifest(join(folder, 'gone')), undefined)
})

test('a write that fails leaves the old content and no leftover', async () => {
  await writeFileAtomic(join(folder, 'deep/er/file'), 'one')
  assert.equal(readFileSync(join(folder, 'deep/er/file'), 'utf8'), 'one')
  await assert.rejects(writeFileAtomic(join(folder, 'sub'), 'a folder is here'))
  assert.deepEqual(readdirSync(folder).filter(isTemporary), [])
})

test('canonical JSON sorts keys at every depth and knows no undefined', () => {
  assert.equal(
    canonicalJson({ b: [1, { d: null, c: 'é"' }], a: true, z: undefined }),
    '{"a":true,"b":[1,{"c":"é\\"","d":null}]}',
  )
  assert.throws(() => canonicalJson({ loss: Number.NaN }), /no NaN/)
  assert.throws(() => hexOf('sha256:ABC'), /not "sha256:" and 64 lower-case hex/)
})
