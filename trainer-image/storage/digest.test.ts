import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { sha256, sha256File } from './digest.ts'

test('whoever watches sees that a large file is being summed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'digest-'))
  try {
    const path = join(folder, 'large')
    writeFileSync(path, '')
    truncateSync(path, 40 << 20)
    let beats = 0
    assert.equal(await sha256File(path, undefined, () => void beats++), sha256(Buffer.alloc(40 << 20)))
    assert.equal(beats, 2)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
