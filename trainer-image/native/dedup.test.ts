import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { randomOf } from '../dataset/random.ts'
import { nearDuplicateIndex } from './dedup.ts'

const folder = mkdtempSync(join(tmpdir(), 'near-'))
after(() => rmSync(folder, { recursive: true }))

const words = (n: number, prefix = 'w'): string[] => Array.from({ length: n }, (_, i) => `${prefix}${i}`)

async function clusters(
  texts: readonly string[],
  options: { threshold?: number; shingleWords?: number; threads?: number; pieces?: number } = {},
) {
  const { threshold = 0.85, shingleWords = 5, threads = 2, pieces = 1 } = options
  const index = nearDuplicateIndex({ threshold, shingleWords, threads })
  const size = Math.ceil(texts.length / pieces)
  for (let i = 0; i < texts.length; i += size) await index.add(texts.slice(i, i + size))
  return [...(await index.clusters())]
}

/** The definition in dedup.h, written down a second time: sets of words joined, no hashes. */
function jaccard(a: string, b: string, shingleWords = 5): number {
  const [left, right] = [a.split(' '), b.split(' ')]
  const [fewer, more] = [Math.min(left.length, right.length), Math.max(left.length, right.length)]
  if (fewer < 20 && more >= 40) return 0
  const k = fewer < 20 ? Math.min(3, shingleWords) : shingleWords
  const shingles = (text: string[]) =>
    new Set(
      text.length < k
        ? [text.join(' ')]
        : text.slice(0, text.length - k + 1).map((_, i) => text.slice(i, i + k).join(' ')),
    )
  const [A, B] = [shingles(left), shingles(right)]
  const common = [...A].filter((shingle) => B.has(shingle)).length
  return common / (A.size + B.size - common)
}

/** Words whose shingles overlap with those of words(n) in exactly n - 4 - 5·changed, each change being far from the others. */
const changed = (n: number, changes: number): string =>
  words(n)
    .map((word, i) => (i % 20 === 10 && i / 20 < changes ? `x${i}` : word))
    .join(' ')

test('pairs planted at similarities around the threshold are found exactly when the exact similarity is above it', async () => {
  const texts: string[] = []
  const wanted: boolean[] = []
  for (let n = 100; n <= 600; n += 10)
    for (let changes = 1; changes <= n / 20; changes++) {
      const own = (text: string) => text.replaceAll('w', `p${texts.length}w`)
      const [a, b] = [own(words(n).join(' ')), own(changed(n, changes))]
      const similarity = jaccard(a, b)
      if (similarity < 0.7 || similarity > 0.98) continue
      texts.push(a, b)
      wanted.push(similarity > 0.85)
    }
  assert.ok(wanted.filter(Boolean).length > 100 && wanted.filter((is) => !is).length > 50)
  const found = await clusters(texts)
  wanted.forEach((is, pair) => {
    const [a, b] = [texts[2 * pair] as string, texts[2 * pair + 1] as string]
    assert.equal(found[2 * pair + 1] === 2 * pair, is, `similarity ${jaccard(a, b)}`)
  })
})

test('a word is the same word at the end of a text and inside another, however long it is', async () => {
  for (let length = 1; length <= 40; length++) {
    const a = [...words(44), 'x'.repeat(length)].join(' ')
    const b = `${a} and three more`
    assert.equal(jaccard(a, b), 41 / 44)
    assert.deepEqual(await clusters([a, b], { threshold: 0.93 }), [0, 0], `${length} letters`)
  }
})

test('a similarity equal to the threshold is not above it', async () => {
  const a = words(44).join(' ')
  const b = words(40).join(' ')
  assert.equal(jaccard(a, b), 36 / 40)
  assert.deepEqual(await clusters([a, b], { threshold: 0.9 }), [0, 1])
  assert.deepEqual(await clusters([a, b], { threshold: 0.8999 }), [0, 0])
})

const pairs = [
  { pair: 'ten words, the last changed', a: words(10).join(' '), b: [...words(9), 'z'].join(' ') },
  { pair: '19 and 20 words', a: words(19).join(' '), b: words(20).join(' ') },
  { pair: '20 and 21 words', a: words(20).join(' '), b: words(21).join(' ') },
  { pair: '19 words and the same 19 followed by 20 others', a: words(19).join(' '), b: words(39).join(' ') },
  { pair: 'two words', a: 'a b', b: 'a b' },
  { pair: 'one word and two', a: 'a', b: 'a b' },
  { pair: 'a short text repeated to 40 words', a: 'a b c a b c a b c', b: Array(14).fill('a b c').join(' ') },
  { pair: 'a short text repeated to 39 words', a: 'a b c a b c a b c', b: Array(13).fill('a b c').join(' ') },
  { pair: 'the same words in another order', a: words(60).join(' '), b: words(60).reverse().join(' ') },
]
for (const { pair, a, b } of pairs)
  test(`${pair}: duplicates exactly when J > 0.85`, async () =>
    assert.deepEqual(await clusters([a, b]), jaccard(a, b) > 0.85 ? [0, 0] : [0, 1]))

test('in prose with random edits every pair above the threshold is found, and no other', async () => {
  const prose = readFileSync(new URL('../../test/fixtures/prose.jsonl', import.meta.url), 'utf8')
    .trim()
    .split('\n')
  const normal = prose.map((line) => String(JSON.parse(line).text).toLowerCase().replace(/\s+/g, ' ').trim())
  const random = randomOf(1, 'edits')
  const edited = normal.map((text) => {
    const rate = random() * 0.04
    return text
      .split(' ')
      .filter(() => random() >= rate)
      .map((word) => (random() < rate ? `${word}x` : word))
      .join(' ')
  })
  const found = await clusters([...normal, ...edited])
  let above = 0
  let missed = 0
  normal.forEach((text, i) => {
    const similarity = jaccard(text, edited[i] as string)
    const together = found[normal.length + i] === found[i]
    if (similarity > 0.85) above++
    if (similarity > 0.85 && !together) missed++
    if (together) assert.ok(similarity > 0.85, `${similarity}`)
  })
  // A pair at J > 0.85 is proposed with a probability of at least 0.99996.
  assert.ok(above > 150, `${above}`)
  assert.equal(missed, 0)
})

test('clusters are transitive and led by their first text', async () => {
  const chain = [0, 1, 2, 3].map((i) =>
    words(60)
      .slice(i, i + 55)
      .join(' '),
  )
  assert.ok(jaccard(chain[0] as string, chain[3] as string) <= 0.9)
  assert.deepEqual(await clusters(['other text here', ...chain.toReversed()], { threshold: 0.9 }), [0, 1, 1, 1, 1])
})

test('threads and the division into calls change nothing', async () => {
  const texts = Array.from({ length: 3000 }, (_, i) => changed(60 + (i % 7) * 10, i % 4).replaceAll('w', `g${i % 40}w`))
  const once = await clusters(texts, { threads: 1 })
  assert.ok(new Set(once).size < texts.length)
  for (const threads of [2, 3, 8, 64]) assert.deepEqual(await clusters(texts, { threads, pieces: threads }), once)
})

test('beyond its memory the index goes on in a file without a name, and finds the same', async () => {
  const texts = Array.from({ length: 3000 }, (_, i) => changed(15 + (i % 30) * 5, i % 3).replaceAll('w', `g${i % 40}w`))
  const want = await clusters(texts)
  for (const [bytes, pieces] of [
    [0, 7],
    [500_000, 30],
    [1_000_000, 300],
  ] as const) {
    const memory = { bytes, folder }
    const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 3, memory })
    for (let i = 0; i < texts.length; i += texts.length / pieces)
      await index.add(texts.slice(Math.round(i), Math.round(i + texts.length / pieces)))
    assert.deepEqual([...(await index.clusters())], want)
    assert.ok(index.spilled > 500_000, `${index.spilled}`)
    assert.deepEqual(readdirSync(folder), [])
  }
})

test('a folder that can not be written is an error of storage', async () => {
  const memory = { bytes: 0, folder: join(folder, 'nowhere') }
  const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 1, memory })
  await assert.rejects(index.add([words(50).join(' ')]), { code: 'EIO', message: /nowhere/ })
})

/** Texts whose common words give all of them the same band keys more often than not, with `own` words of their own. */
const relatives = (count: number, common: number, own: number): string[] =>
  Array.from({ length: count }, (_, i) => [...words(common), ...words(own, `own${i}x`)].join(' '))

test('a bucket of many texts is searched for rare shingles, and every pair in it is still found', async () => {
  const random = randomOf(7, 'families')
  const common = words(200)
  const texts = Array.from({ length: 1500 }, (_, i) => {
    const family = i % 500
    const text = [...common, ...words(24 + (family % 9), `f${family}x`)]
    return text.map((word) => (random() < 0.004 ? `${word}y` : word)).join(' ')
  })
  const found = await clusters(texts)
  let above = 0
  for (let i = 0; i < 500; i++)
    for (const [a, b] of [
      [i, i + 500],
      [i, i + 1000],
      [i + 500, i + 1000],
    ] as const) {
      if (jaccard(texts[a] as string, texts[b] as string) <= 0.85) continue
      above++
      assert.equal(found[a], found[b], `${a} and ${b}`)
    }
  assert.ok(above > 1000, `${above}`)
})

// Compared pair by pair, any of these would take minutes to hours.
const crowds = [
  { crowd: 'equal texts', texts: Array<string>(20_000).fill(words(160).join(' ')), clusters: 1 },
  { crowd: 'short equal texts of 25 words', texts: Array<string>(100_000).fill(words(25).join(' ')), clusters: 1 },
  { crowd: 'texts that differ in one word', texts: relatives(20_000, 160, 1), clusters: 1 },
  {
    crowd: 'texts that share most of their words and are not alike',
    texts: relatives(30_000, 140, 22),
    clusters: 30_000,
  },
  {
    crowd: 'such texts that lie on disk, as does the index of the crowd',
    texts: relatives(6000, 140, 22),
    clusters: 6000,
    memory: { bytes: 1 << 20, folder },
  },
]
for (const { crowd, texts, clusters: want, memory } of crowds)
  test(`${texts.length} ${crowd} take seconds`, async () => {
    const before = process.cpuUsage()
    const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 2, ...(memory && { memory }) })
    for (let i = 0; i < texts.length; i += 5000) await index.add(texts.slice(i, i + 5000))
    assert.equal(new Set(await index.clusters()).size, want)
    const { user, system } = process.cpuUsage(before)
    assert.ok(user + system < 60e6, `${(user + system) / 1e6} s of processor time`)
    assert.equal(index.spilled > 0, memory !== undefined)
  })

test('crowds that share a band are found the same when neither their sets nor the index of one fit the memory', async () => {
  const families = Array.from({ length: 1200 }, (_, i) =>
    [...words(140), ...words(24, `f${i % 300}x`), `own${i}`].join(' '),
  )
  const texts = [...relatives(1200, 140, 22), ...relatives(600, 160, 1), ...relatives(600, 30, 1), ...families]
  const want = await clusters(texts)
  assert.equal(new Set(want).size, 1200 + 1 + 1 + 300)
  // At some 25 postings a text a crowd's index is written in two runs and merged.
  const memory = { bytes: 0, folder }
  const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 2, memory })
  await index.add(texts)
  assert.deepEqual([...(await index.clusters())], want)
  assert.ok(index.spilled > 3_000_000, `${index.spilled}`)
})

test('more pairs than are gathered at once: texts that share a band by the dozen, alike or not, in memory and on disk', async () => {
  // 120 times 40 texts: 780 pairs of each family are proposed, when 65,536 are gathered. Every tenth is like the one before it.
  const texts = Array.from({ length: 4800 }, (_, i) => {
    const family = words(140, `f${i % 120}x`)
    const member = Math.floor(i / 120)
    const own = member % 10 === 9 ? [...words(21, `own${i - 120}x`), 'changed'] : words(22, `own${i}x`)
    return [...family, ...own].join(' ')
  })
  const want = texts.map((_, i) => (Math.floor(i / 120) % 10 === 9 ? i - 120 : i))
  for (const { threads, memory } of [
    { threads: 2 },
    { threads: 1, memory: { bytes: 0, folder } },
    { threads: 3, memory: { bytes: 8 << 20, folder } },
  ]) {
    const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads, ...(memory && { memory }) })
    for (let i = 0; i < texts.length; i += 500) await index.add(texts.slice(i, i + 500))
    assert.deepEqual([...(await index.clusters())], want)
  }
})

test('nothing, empty texts and texts without a common word', async () => {
  assert.deepEqual(await clusters([]), [])
  assert.deepEqual(await clusters(['', '', 'a b c d e f g h i j', '']), [0, 1, 2, 3])
})

test('letters beyond ASCII and words longer than a machine word are told apart', async () => {
  const base = words(30, 'überlangeswörterbuchwort').join(' ')
  assert.deepEqual(await clusters([base, base, base.replaceAll('ü', 'u')]), [0, 0, 2])
})

const refused = [
  { options: { threshold: 0, shingleWords: 5, threads: 1 }, message: /threshold is 0/ },
  { options: { threshold: Number.NaN, shingleWords: 5, threads: 1 }, message: /threshold is nan/ },
  { options: { threshold: 1.1, shingleWords: 5, threads: 1 }, message: /threshold is 1.1/ },
  { options: { threshold: 0.5, shingleWords: 0, threads: 1 }, message: /shingleWords is 0/ },
  { options: { threshold: 0.5, shingleWords: 5, threads: 0 }, message: /threads is 0/ },
]
for (const { options, message } of refused)
  test(`options ${JSON.stringify(options)} are refused`, () =>
    assert.throws(() => nearDuplicateIndex(options), { code: 'INVALID_ARGUMENT', message }))

test('overlapping calls are refused, and the index goes on', async () => {
  const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 1 })
  const first = index.add([words(50).join(' ')])
  await assert.rejects(index.clusters(), { code: 'INVALID_ARGUMENT' })
  await first
  assert.deepEqual([...(await index.clusters())], [0])
})
