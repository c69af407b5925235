/**
 * How well the curvature tells human prose from what a small model writes: SmolLM2-135M-Instruct goes on from the first words of held-out
 * paragraphs, greedily and by drawing; the base scores these, the people's own continuations and both with their words shuffled.
 * AUROC: how often a model's text scores above a human's.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { randomOf } from '../../trainer-image/dataset/random.ts'
import { curvaturesOf } from '../../trainer-image/evaluate/curvature.ts'
import { writeOutputs } from '../../trainer-image/evaluate/outputs.ts'
import { openModel } from '../../trainer-image/model/open.ts'
import { loadModel } from '../../trainer-image/native/index.ts'
import { Generation } from '../../trainer-image/serve/generation.ts'
import { Scheduler } from '../../trainer-image/serve/scheduler.ts'
import { templateDate } from '../../trainer-image/train/example.ts'
import { threadsOfQuota } from '../../trainer-image/train/threads.ts'
import { ggufPath } from './base.ts'

const texts = Number(process.env['TEXTS'] ?? 24)
const maxTokens = 80
const capacity = 512
const given = 12
const work = { signal: new AbortController().signal, beat: () => {} }

const opened = await openModel(ggufPath())
const model = await loadModel(opened.architecture, opened.tensors, {
  quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true },
  threads: threadsOfQuota(),
})
const { tokenizer, chatTemplate, generation } = opened
const paragraphs = readFileSync(new URL('../fixtures/prose.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => (JSON.parse(line) as { text: string }).text)
  .filter((text) => text.split(' ').length > 80)
const step = Math.floor(paragraphs.length / texts)
const chosen = Array.from({ length: texts }, (_, i) => paragraphs[i * step]!.split(' '))
const samples = chosen.map((words, i) => {
  const content = `Continue this text in the same style, without a comment:\n\n${words.slice(0, given).join(' ')}`
  const messages = [{ role: 'user', content }] as const
  const prompt = tokenizer.encode(
    chatTemplate.render(messages, { addGenerationPrompt: true, dateString: templateDate }),
  )
  return { id: `${i}`, input: '', human: undefined, humanTokens: new Int32Array(), prompt, maxTokens }
})

const codec = { ...opened, dateString: templateDate }
const greedy = (await writeOutputs(model, undefined, samples, codec, 4096, work)).map(({ text }) => text)

/** Temperature 1, nothing left out. */
async function drawn(): Promise<string[]> {
  const sampling = { temperature: 1, topP: 1, presencePenalty: 0, frequencyPenalty: 0, topLogprobs: undefined }
  const jobs = samples.map(({ prompt }, seed) => {
    const pieces: string[] = []
    const text = tokenizer.decodeStream()
    const endIds = new Set(generation.endOfTurnIds)
    const options = { prompt, maxTokens, sampling, seed, choice: 0, stops: [], endIds, text }
    const onPiece = (piece: { readonly text: string }): void => void pieces.push(piece.text)
    return { adapter: undefined, generation: new Generation(options), pieces, onPiece }
  })
  const limits = { maxRunning: 8, maxWaiting: jobs.length, prefillTokens: 256, cacheTokens: 4096 }
  await new Scheduler(model, limits).run(jobs, work.signal)
  return jobs.map(({ pieces }) => pieces.join(''))
}

/** As many tokens as the model was allowed. */
const human = chosen.map((words) => {
  const tokens = tokenizer.encode(words.slice(given).join(' ')).subarray(0, maxTokens)
  return tokenizer.decode(tokens)
})
const random = randomOf(1, 'detector')
const shuffled = human.map((text) =>
  text
    .split(' ')
    .map((word) => ({ word, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ word }) => word)
    .join(' '),
)

const scoresOf = async (of: readonly string[]): Promise<number[]> =>
  (await curvaturesOf(model, of, opened, capacity, work)).filter((score) => score !== undefined)
const scores = {
  'human, words shuffled': await scoresOf(shuffled),
  human: await scoresOf(human),
  'model, drawn': await scoresOf(await drawn()),
  'model, greedy': await scoresOf(greedy),
}
model.close()

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length
const areaUnderCurve = (of: readonly number[], against: readonly number[]): number =>
  mean(of.flatMap((a) => against.map((b) => (a > b ? 1 : a === b ? 0.5 : 0))))
const rows = Object.entries(scores).map(([name, values]) => ({
  name,
  texts: values.length,
  mean: Number(mean(values).toFixed(2)),
  lowest: Number(Math.min(...values).toFixed(2)),
  highest: Number(Math.max(...values).toFixed(2)),
  aurocAgainstHuman: Number(areaUnderCurve(values, scores.human).toFixed(3)),
}))
console.table(rows)
writeFileSync('bench.json', `${JSON.stringify({ suite: 'detector', maxTokens, rows }, null, 2)}\n`)
