import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { page } from './roofline.ts'
import { computeParameters, llama3B, loraParameters, stepWork } from './step-work.ts'

test('the roofline page is what the script writes', () => {
  assert.equal(readFileSync(new URL('../../docs/gpu-performance.md', import.meta.url), 'utf8'), page())
})

test("the model's sizes are those published for Llama 3.2 3B", () => {
  assert.equal(computeParameters(llama3B), 2_818_572_288 + 128_256 * 3072)
  assert.equal(loraParameters(llama3B, 32), 48_627_712)
})

test('the large products of a step make 4N operations a token, 6N less down and the last layer with full recomputation', () => {
  const products = (recompute: 'None' | 'Full'): number =>
    stepWork(llama3B, { tokens: 1, document: 1, rank: 32, recompute })
      .filter(({ kind }) => kind === 'products')
      .reduce((flops, work) => flops + work.flops, 0)
  assert.equal(products('None'), 4 * computeParameters(llama3B))
  const again = 27 * (3072 * (3072 + 2 * 1024) + 3072 * 3072 + 2 * 3072 * 8192) + 128_256 * 3072
  assert.equal(products('Full'), 4 * computeParameters(llama3B) + 2 * again)
})
