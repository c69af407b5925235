/**
 * Near-duplicate search over 20,000 paragraphs made from the fixture's prose: one in ten is a near copy, the others have a quarter of
 * their words changed. Texts per second of processor time, on one thread, so that other work on the machine counts for less.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { normalForm } from '../../trainer-image/dataset/cleaning.ts'
import { randomOf } from '../../trainer-image/dataset/random.ts'
import { nearDuplicateIndex } from '../../trainer-image/native/dedup.ts'

const texts = 20_000
const random = randomOf(1, 'bench')
const prose = readFileSync(new URL('../fixtures/prose.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => normalForm(JSON.parse(line).text))
const corpus = Array.from({ length: texts }, (_, i) => {
  const rate = random() < 0.1 ? 0.005 : 0.25
  return (prose[i % prose.length] as string)
    .split(' ')
    .map((word) => (random() < rate ? `${word}${Math.floor(random() * 1e6)}` : word))
    .join(' ')
})
const megabytes = corpus.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 1e6

const before = process.cpuUsage()
const start = performance.now()
const index = nearDuplicateIndex({ threshold: 0.85, shingleWords: 5, threads: 1 })
for (let i = 0; i < texts; i += 2000) await index.add(corpus.slice(i, i + 2000))
const clusters = await index.clusters()
const wallSeconds = (performance.now() - start) / 1000
const used = process.cpuUsage(before)
const processorSeconds = (used.user + used.system) / 1e6

const result = {
  suite: 'dedup',
  texts,
  megabytes: Number(megabytes.toFixed(1)),
  nearDuplicates: clusters.filter((first, i) => first !== i).length,
  wallSeconds: Number(wallSeconds.toFixed(2)),
  processorSeconds: Number(processorSeconds.toFixed(2)),
  textsPerProcessorSecond: Math.round(texts / processorSeconds),
}
console.table(result)
writeFileSync('bench.json', `${JSON.stringify(result, null, 2)}\n`)
