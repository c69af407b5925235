import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { DatasetOptions } from '../fixtures/dataset.ts'
import { type Claim, makeClaim, runToEnd, startPod } from './training-pod.ts'

const claims: Claim[] = []
async function claimOf(...change: Parameters<typeof makeClaim>): Promise<Claim> {
  const claim = await makeClaim(...change)
  claims.push(claim)
  return claim
}
after(() => {
  for (const claim of claims) claim.remove()
})

interface Refusal {
  readonly field: string
  readonly change: object
  readonly dataset?: DatasetOptions
  readonly code: number
  readonly words: RegExp
}
const refusals: readonly Refusal[] = [
  {
    field: 'lora.targetModules',
    change: { lora: { targetModules: ['c_attn'] } },
    code: 64,
    words: /"c_attn" matches no module/,
  },
  {
    field: 'training.maxSequenceLength',
    change: { training: { maxSequenceLength: 4096 } },
    code: 64,
    words: /is 4096; expected at most 2048/,
  },
  {
    field: 'training.learningRateSchedule',
    change: { training: { learningRateSchedule: 'Sine' } },
    code: 64,
    words: /is "Sine"; expected Cosine, Linear, Constant/,
  },
  {
    field: 'a sequence that nothing fits',
    change: { training: { maxSequenceLength: 32 } },
    code: 67,
    words: /no example fits/,
  },
  {
    field: 'a dataset that is not there',
    change: { datasetPath: 'datasets/gone' },
    code: 66,
    words: /is not at .*gone/,
  },
  {
    field: 'a model that is not there',
    change: { model: { path: 'models/gone' } },
    code: 66,
    words: /there is no such model/,
  },
  { field: 'backend CUDA', change: { backend: 'CUDA' }, code: 72, words: /CPU engine only/ },
  {
    field: 'a dataset without validation',
    change: {},
    dataset: { validationEvery: 0 },
    code: 68,
    words: /no validation text .* split\.trainPercent 92/,
  },
]

for (const { field, change, dataset, code, words } of refusals)
  test(`${field} that cannot work ends the job with exit ${code} and the words that say why`, async () => {
    const claim = await claimOf((config) => {
      const merged = { ...config } as Record<string, unknown>
      for (const [key, value] of Object.entries(change))
        merged[key] = typeof value === 'object' ? { ...(merged[key] as object), ...value } : value
      return merged as unknown as typeof config
    }, dataset && { dataset })
    const ended = await startPod(claim, claim.config, 'pod-refused').ended
    assert.equal(ended.code, code, ended.output)
    assert.match(ended.result?.message ?? '', words)
  })

test('a chat template that the dataset brings is trained with and goes with the adapter', async () => {
  const chatTemplate =
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '<|im_end|>' }}{% endfor %}" +
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
  const short = (config: Claim['config']) => ({ ...config, training: { ...config.training!, maxSteps: 2 } })
  const promptTokens: number[] = []
  for (const dataset of [{}, { chatTemplate }]) {
    const claim = await claimOf(short, { dataset })
    const { checkpoints, data } = await runToEnd(claim, claim.config, 'pod-template')
    promptTokens.push(data!.promptTokens)
    if ('chatTemplate' in dataset)
      assert.equal(readFileSync(join(claim.dataDir, checkpoints[0]!.path, 'chat_template.jinja'), 'utf8'), chatTemplate)
  }
  assert.notEqual(promptTokens[0], promptTokens[1])
})

test('Identity is trained with a warning, and its best is that of human text under the denoise prompt', async () => {
  const claim = await claimOf((config) => config, { dataset: { sample: 'Identity' } })
  const { baseline, checkpoints, warnings } = await runToEnd(claim, claim.config, 'pod-identity')
  assert.ok(warnings.some((warning) => warning.startsWith('Identity samples are solved by copying')))
  assert.ok(baseline!.humanLoss! > 0 && baseline!.humanLoss !== baseline!.loss)
  const evaluations = checkpoints.map(({ evaluation }) => evaluation!)
  const best = checkpoints.find(({ best }) => best)!
  assert.equal(best.evaluation!.humanLoss, Math.min(...evaluations.map(({ humanLoss }) => humanLoss!)))
  const state = JSON.parse(readFileSync(join(claim.dataDir, checkpoints.at(-1)!.path, 'trainer_state.json'), 'utf8'))
  assert.deepEqual([state.best_metric, state.best_global_step], [best.evaluation!.humanLoss, best.step])
  assert.notEqual(state.best_metric, best.evaluation!.loss)
})
