/** What bad input gets on a real cluster: a clear condition with the field, the value and the expectation; and good input that comes late. */
import assert from 'node:assert/strict'
import { copyFileSync, cpSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, test } from 'node:test'
import { condition, datasetSpec, holds, type Namespace, openWorld, runSpec } from './world.ts'

let namespace: Namespace

before(async () => {
  const world = await openWorld()
  namespace = await world.openNamespace('bad-input')
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
  await namespace.apply('HumanizerDataset', 'secret', lacksSecret) // it waits for a minute: from now on
  const fixtures = join(namespace.folder, 'fixtures')
  cpSync(join(fixtures, 'tiny-llama'), join(fixtures, 'truncated'), { recursive: true })
  truncateSync(join(fixtures, 'truncated', 'model.safetensors'), 20_000)
  cpSync(join(fixtures, 'tiny-llama'), join(fixtures, 'unknown'), { recursive: true })
  writeFileSync(
    join(fixtures, 'unknown', 'config.json'),
    JSON.stringify({ architectures: ['MambaForCausalLM'], model_type: 'mamba' }),
  )
  writeFileSync(join(fixtures, 'short.jsonl'), '{"text": "too short"}\n')
  await namespace.ready('hds', 'prose')
})

const hub = { repo: 'humanizer/none', tokenSecretRef: { name: 'token', key: 'token' } }
const lacksSecret = { sources: [{ name: 'hub', huggingFace: hub, textColumn: 'text', license: 'CC0-1.0' }] }
const source = (changes: object): object => ({
  sources: [
    { name: 'prose', volume: { claimName: 'humanizer', path: 'fixtures/prose.jsonl' }, license: 'CC0-1.0', ...changes },
  ],
})
const model = (path: string): object => ({
  baseModel: { volume: { claimName: 'humanizer', path: `fixtures/${path}` } },
})

const cases = [
  {
    bad: 'column',
    kind: 'HumanizerDataset',
    name: 'column',
    spec: source({ textColumn: 'body' }),
    says: /body.*(author|title)/s,
  },
  {
    bad: 'dataset where nothing survives',
    kind: 'HumanizerDataset',
    name: 'nothing',
    spec: source({ volume: { claimName: 'humanizer', path: 'fixtures/short.jsonl' }, textColumn: 'text' }),
    says: /short|surviv|nothing/i,
  },
  {
    bad: 'truncated base model',
    kind: 'QLoRARun',
    name: 'truncated',
    spec: runSpec(10, model('truncated')),
    says: /model\.safetensors|tensor/,
  },
  {
    bad: 'architecture',
    kind: 'QLoRARun',
    name: 'unknown',
    spec: runSpec(10, model('unknown')),
    says: /Mamba.*Llama/s,
  },
  {
    bad: 'LoRA target',
    kind: 'QLoRARun',
    name: 'target',
    spec: runSpec(10, { lora: { rank: 4, targetModules: ['qq_proj'] } }),
    says: /qq_proj.*q_proj/s,
  },
  {
    bad: 'sequence length',
    kind: 'QLoRARun',
    name: 'length',
    spec: runSpec(10, { training: { maxSteps: 10, maxSequenceLength: 100_000 } }),
    says: /100,?000.*\d/s,
  },
] as const

// The Secret's test mostly waits for the kubelet to mount again; the others go on beside it.
describe('bad input', { concurrency: 2 }, () => {
  test('a Secret that comes late lets the dataset go on by itself', async () => {
    const waiting = await namespace.until(
      'hds',
      'secret',
      'to say that the Secret is missing',
      180,
      (seen) => condition(seen, 'Ready')?.reason === 'SecretMissing',
    )
    assert.match(condition(waiting, 'Ready')?.message ?? '', /Secret token \(key token\)/)
    await namespace.kubectl(['create', 'secret', 'generic', 'token', '--from-literal=token=hf_x'])
    // This cluster has no way to the Hub: that the pod runs, asks for it and says so is as far as it gets.
    const asked = await namespace.until(
      'hds',
      'secret',
      'to say that the Hub does not answer',
      300,
      (seen) => condition(seen, 'Ready')?.reason === 'Unavailable',
    )
    assert.match(condition(asked, 'Ready')?.message ?? '', /huggingface\.co/)
    assert.ok(holds(asked, 'Reconciling'))
  })

  for (const { bad, kind, name, spec, says } of cases) {
    test(`a bad ${bad} stalls the object with words, and nothing loops`, async () => {
      await namespace.apply(kind, name, spec)
      const object = await namespace.until(kind, name, 'to be Stalled', 180, (seen) => holds(seen, 'Stalled'))
      assert.match(condition(object, 'Stalled')?.message ?? '', says)
      const jobs = JSON.parse(await namespace.kubectl(['get', 'jobs', '-o', 'json'])) as {
        items: { metadata: { name: string } }[]
      }
      assert.ok(jobs.items.filter(({ metadata }) => metadata.name.startsWith(`${name}-`)).length <= 2)
      const events = await namespace.kubectl(['get', 'events', '--field-selector', `involvedObject.name=${name}`])
      assert.match(events, /Warning/)
    })
  }

  test('a source that is not there is waited for, and the dataset goes on by itself when it comes', async () => {
    const late = { volume: { claimName: 'humanizer', path: 'fixtures/late.jsonl' }, textColumn: 'text' }
    await namespace.apply('HumanizerDataset', 'late', source(late))
    const waiting = await namespace.until('hds', 'late', 'to say what is missing', 180, (seen) =>
      /late\.jsonl/.test(condition(seen, 'Ready')?.message ?? ''),
    )
    assert.deepEqual(
      [condition(waiting, 'Ready')?.status, condition(waiting, 'Ready')?.reason, holds(waiting, 'Reconciling')],
      ['False', 'NotFound', true],
    )
    const fixtures = join(namespace.folder, 'fixtures')
    copyFileSync(join(fixtures, 'prose.jsonl'), join(fixtures, 'late.jsonl'))
    // The waits between attempts grow from 0 s by doubling from 10 s, so the file is found soon when it comes early.
    const ready = await namespace.ready('hds', 'late', 180)
    assert.ok((ready.status?.counts?.['train'] ?? 0) > 0, JSON.stringify(ready.status?.counts))
  })

  test('names and specs that cannot be are refused at admission, with the field named', async () => {
    await assert.rejects(namespace.apply('QLoRARun', 'x'.repeat(41), runSpec(10)), /40/)
    await assert.rejects(
      namespace.apply('QLoRARun', 'rate', runSpec(10, { training: { learningRate: 'fast' } })),
      /learningRate/,
    )
    await assert.rejects(
      namespace.apply('AdapterRelease', 'two', { source: { base: true, digest: `sha256:${'0'.repeat(64)}` } }),
      /exactly one/,
    )
  })
})
