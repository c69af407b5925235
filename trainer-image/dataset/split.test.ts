import assert from 'node:assert/strict'
import { test } from 'node:test'
import { randomOf } from './random.ts'
import { validationOf } from './split.ts'

const validationClusters = (clusters: readonly string[], split: Parameters<typeof validationOf>[1]): Set<string> =>
  new Set([...new Set(clusters)].filter(validationOf(clusters, split)).sort())
const names = (n: number) => Array.from({ length: n }, (_, i) => `c${i}`)

const sizes = [
  { clusters: 0, trainPercent: 95, want: 0 },
  { clusters: 1, trainPercent: 95, want: 0 },
  { clusters: 1, trainPercent: 1, want: 0 },
  { clusters: 2, trainPercent: 99, want: 1 },
  { clusters: 2, trainPercent: 1, want: 1 },
  { clusters: 2, trainPercent: 100, want: 0 },
  { clusters: 10, trainPercent: 95, want: 1 },
  { clusters: 1000, trainPercent: 95, want: 50 },
  { clusters: 1000, trainPercent: 100, want: 0 },
  { clusters: 1000, trainPercent: 1, want: 990 },
]
for (const { clusters, trainPercent, want } of sizes)
  test(`${clusters} clusters at ${trainPercent} % train give ${want} to validation`, () =>
    assert.equal(validationClusters(names(clusters), { trainPercent, seed: 42 }).size, want))

test('the split depends on the seed and not on the order or number of the rows of a cluster', () => {
  const split = { trainPercent: 80, seed: 7 }
  const once = validationClusters(names(100), split)
  const random = randomOf(1, 'order')
  for (let round = 0; round < 20; round++) {
    const shuffled = [...names(100), ...names(40)].sort(() => random() - 0.5)
    assert.deepEqual([...validationClusters(shuffled, split)], [...once])
  }
  assert.notDeepEqual([...validationClusters(names(100), { ...split, seed: 8 })], [...once])
})

test('every cluster is as likely as another to be in validation', () => {
  const hits = new Map<string, number>()
  for (let seed = 0; seed < 2000; seed++)
    for (const name of validationClusters(names(10), { trainPercent: 80, seed }))
      hits.set(name, (hits.get(name) ?? 0) + 1)
  // Each is drawn with p = 0.2 in 2,000 splits: mean 400, standard deviation 18; six of them are 108.
  for (const name of names(10)) assert.ok(Math.abs((hits.get(name) ?? 0) - 400) < 108, `${name}: ${hits.get(name)}`)
})
