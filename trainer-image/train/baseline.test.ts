import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { openModel } from '../model/open.ts'
import { fitsUnquantized } from './baseline.ts'

test('the unquantised base is measured only where five bytes a weight are available', async () => {
  const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))
  const weights = opened.tensors.reduce((sum, { bytes }) => sum + bytes / 2, 0)
  assert.equal(fitsUnquantized(opened, 5 * weights + 1), true)
  assert.equal(fitsUnquantized(opened, 5 * weights), false)
})
