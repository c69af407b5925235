import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { EvaluationSet } from '../evaluate/evaluate.ts'
import { openModel } from '../model/open.ts'
import { fitsUnquantized, measureUnquantized } from './baseline.ts'

const opened = await openModel(fileURLToPath(new URL('../../test/fixtures/tiny-llama', import.meta.url)))

test('the unquantised base is measured only where it fits with a quarter to spare: in f32, or as a GPU holds it', () => {
  const weights = opened.tensors.reduce((sum, { bytes }) => sum + bytes / 2, 0)
  for (const bytesPerWeight of [2, 4] as const) {
    const needed = 1.25 * bytesPerWeight * weights
    assert.equal(fitsUnquantized(opened, { freeBytes: needed + 1, bytesPerWeight }), true)
    assert.equal(fitsUnquantized(opened, { freeBytes: needed, bytesPerWeight }), false)
  }
})

test('memory that is not enough for it after all is no failure of the run; anything else is', async () => {
  const environment = { threads: 1, instructionPath: 'baseline' } as const
  const work = { signal: new AbortController().signal, beat: () => {} }
  const measured = (code: string) =>
    measureUnquantized(opened, environment, { own: {} as EvaluationSet, human: undefined }, work, () =>
      Promise.reject(Object.assign(new Error('words'), { code })),
    )
  assert.equal(await measured('OUT_OF_MEMORY'), undefined)
  await assert.rejects(measured('DEVICE_LOST'), /words/)
})
