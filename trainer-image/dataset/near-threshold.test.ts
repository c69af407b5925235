import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { load } from 'js-yaml'
import { PrepareConfig } from '#proto/humanizer/trainer/v1/preparation.ts'
import { nearDuplicateIndex } from '../native/dedup.ts'
import { lowestNearThreshold, settingsOf } from './settings.ts'

const shingleWords = 5

const isAllowed = (nearThreshold: number): boolean => {
  const config = PrepareConfig.fromPartial({
    sources: [{ name: 's', filePath: '/s/a.txt' }],
    cleaning: {},
    deduplication: { nearThreshold, shingleWords },
    split: { trainPercent: 95 },
    format: { sample: 'Denoise', userTemplate: '{text}' },
    specHash: 'spec',
  })
  try {
    settingsOf(config)
    return true
  } catch (error) {
    assert.match(String(error), /deduplication\.nearThreshold is .*expected 0 \(off\) or 0\.8 to 1/)
    return false
  }
}

/** Pairs whose similarity lies above the threshold by at most 0.01: equal but for words that are changed here and there. */
function pairsJustAbove(threshold: number, wanted: number): [string, string][] {
  const pairs: [string, string][] = []
  for (let n = 60; pairs.length < wanted; n = n === 400 ? 60 : n + 1)
    for (let changes = 1; changes * 2 * shingleWords < n; changes++) {
      const shingles = n - shingleWords + 1
      const lost = shingleWords * changes
      const similarity = (shingles - lost) / (shingles + lost)
      if (similarity <= threshold || similarity > threshold + 0.01) continue
      const words = Array.from({ length: n }, (_, i) => `p${pairs.length}w${i}`)
      const isChanged = (i: number) => i % (2 * shingleWords) === shingleWords && i < 2 * shingleWords * changes
      pairs.push([words.join(' '), words.map((word, i) => (isChanged(i) ? `${word}x` : word)).join(' ')])
    }
  return pairs
}

test('at the lowest threshold that is allowed more than 99 of 100 pairs just above it are found', async () => {
  const pairs = pairsJustAbove(lowestNearThreshold, 3000)
  const index = nearDuplicateIndex({ threshold: lowestNearThreshold, shingleWords, threads: 2 })
  await index.add(pairs.flat())
  const clusters = await index.clusters()
  const found = pairs.filter((_, pair) => clusters[2 * pair + 1] === 2 * pair).length
  assert.ok(found / pairs.length > 0.99, `${found} of ${pairs.length}`)
})

type Properties<Inner> = { properties: Inner }
const crd = load(readFileSync(new URL('../../crds/humanizerdataset.yaml', import.meta.url), 'utf8')) as {
  spec: {
    versions: {
      schema: {
        openAPIV3Schema: Properties<{
          spec: Properties<{ deduplication: Properties<{ nearThreshold: { pattern: string } }> }>
        }>
      }
    }[]
  }
}
const { spec } = crd.spec.versions[0]!.schema.openAPIV3Schema.properties
const { pattern } = spec.properties.deduplication.properties.nearThreshold

for (const [threshold, allowed] of [
  ['0', true],
  ['0.0', true],
  ['0.05', false],
  ['0.5', false],
  ['0.7999', false],
  ['0.8', true],
  ['0.8000', true],
  ['0.85', true],
  ['0.9999', true],
  ['1', true],
  ['1.0', true],
  ['1.1', false],
] as const)
  test(`nearThreshold ${threshold} is ${allowed ? 'allowed' : 'refused'} by the API and by the Job`, () => {
    assert.equal(new RegExp(pattern).test(threshold), allowed)
    assert.equal(isAllowed(Number(threshold)), allowed)
  })
