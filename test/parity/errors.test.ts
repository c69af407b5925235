import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { truncateSync } from 'node:fs'
import { suite, test } from 'node:test'
import {
  type Architecture,
  type Batch,
  type LoraConfig,
  loadModel,
  type Model,
  NativeError,
  type TensorSource,
} from '../../trainer-image/native/index.ts'
import { lora, oddArchitecture, pack, randomDocument, randomWeights } from './random-model.ts'

const options = { quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true }, threads: 1 } as const

const fails = (promise: Promise<unknown>, code: NativeError['code'], message: RegExp) =>
  assert.rejects(promise, (error) => {
    assert.ok(error instanceof NativeError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, message)
    return true
  })

/** Runs with the weights of the odd model in a file of their own. */
async function withWeights(work: (tensors: TensorSource[]) => Promise<void>): Promise<void> {
  const { tensors, dispose } = randomWeights(oddArchitecture)
  try {
    await work(tensors)
  } finally {
    dispose()
  }
}

const changed = (tensors: TensorSource[], name: string, change: Partial<TensorSource>) =>
  tensors.map((tensor) => (tensor.name === name ? { ...tensor, ...change } : tensor))

suite('a base model that cannot be is refused by the name of its tensor', () => {
  const cases: [string, (tensors: TensorSource[]) => TensorSource[], NativeError['code'], RegExp][] = [
    [
      'a tensor is missing',
      (tensors) => tensors.filter(({ name }) => name !== 'model.layers.1.mlp.up_proj.weight'),
      'DATA_INVALID',
      /tensor model\.layers\.1\.mlp\.up_proj\.weight is missing/,
    ],
    [
      'a tensor has another shape',
      (tensors) => changed(tensors, 'model.norm.weight', { shape: [39], bytes: 156 }),
      'DATA_INVALID',
      /model\.norm\.weight has shape \[39\], the architecture needs \[40\]/,
    ],
    [
      'bytes and shape disagree',
      (tensors) => changed(tensors, 'model.norm.weight', { bytes: 80 }),
      'DATA_INVALID',
      /model\.norm\.weight has 80 bytes, its shape needs 160/,
    ],
    [
      'rows are no whole number of blocks',
      (tensors) => changed(tensors, 'model.norm.weight', { dtype: 'Q8_0' }),
      'DATA_INVALID',
      /model\.norm\.weight: its last dimension must be a multiple of 32/,
    ],
    [
      'a type is unknown',
      (tensors) => changed(tensors, 'model.norm.weight', { dtype: 'Q2_K' as 'F32' }),
      'INVALID_ARGUMENT',
      /dtype 'Q2_K' is not one of F32/,
    ],
    [
      'the file is not there',
      (tensors) => changed(tensors, 'model.norm.weight', { file: '/nowhere/weights.bin' }),
      'DATA_INVALID',
      /cannot open \/nowhere\/weights\.bin: No such file/,
    ],
  ]
  for (const [name, change, code, message] of cases)
    test(name, () =>
      withWeights((tensors) => fails(loadModel(oddArchitecture, change(tensors), options), code, message)),
    )

  test('the file is cut short', () =>
    withWeights(async (tensors) => {
      const last = tensors.at(-1)!
      truncateSync(last.file, last.offset + 100)
      await fails(
        loadModel(oddArchitecture, tensors, options),
        'DATA_INVALID',
        new RegExp(`${last.name}: .* ends 60 bytes too early`),
      )
    }))

  const architectures: [Partial<Architecture>, RegExp][] = [
    [{ keyValueHeads: 4 }, /architecture\.keyValueHeads is 4, expected a divisor of heads \(6\)/],
    [{ headSize: 9 }, /architecture\.headSize is 9, expected an even number/],
    [{ layers: 0 }, /architecture\.layers is 0/],
  ]
  for (const [change, message] of architectures)
    test(`architecture ${JSON.stringify(change)}`, () =>
      fails(loadModel({ ...oddArchitecture, ...change }, [], options), 'INVALID_ARGUMENT', message))
})

suite('arguments', () => {
  const batch = pack([[randomDocument(10, 131, 1), randomDocument(10, 131, 2)]])
  const withModel = (work: (model: Model) => Promise<void>) =>
    withWeights(async (tensors) => {
      const model = await loadModel(oddArchitecture, tensors, options)
      try {
        await work(model)
      } finally {
        model.close()
      }
    })

  const configs: [Partial<LoraConfig>, RegExp][] = [
    [{ targetModules: ['qkv_proj'] }, /targetModules: 'qkv_proj' matches no linear layer; there are q_proj/],
    [{ targetModules: [] }, /lora\.targetModules/],
    [{ rank: 0 }, /lora\.rank is 0/],
    [{ dropout: 1 }, /lora\.dropout is 1, expected a number in \[0, 1\)/],
  ]
  for (const [change, message] of configs)
    test(`LoRA ${JSON.stringify(change)}`, () =>
      withModel((model) => fails(model.createAdapter({ ...lora, ...change }), 'INVALID_ARGUMENT', message)))

  const batches: [string, Partial<Batch>, RegExp][] = [
    ['a token beyond the vocabulary', { tokens: new Int32Array(20).fill(131) }, /batch\.tokens\[0\] is 131/],
    ['a label beyond the vocabulary', { labels: new Int32Array(20).fill(-1) }, /batch\.labels\[0\] is -1/],
    ['labels of another length', { labels: new Int32Array(3) }, /batch\.labels\.length is 3, expected 20/],
    ['documents that end too early', { documents: Int32Array.of(0, 10) }, /offsets from 0 to 20/],
    ['documents that go back', { documents: Int32Array.of(0, 12, 11, 20) }, /batch\.documents\[2\] is 11/],
    ['a sequence that cuts a document', { sequences: Int32Array.of(0, 5, 20) }, /batch\.sequences is 5/],
    [
      'ordinals of another length',
      { sequenceOrdinals: Int32Array.of(0, 1) },
      /sequenceOrdinals\.length is 2, expected 1/,
    ],
  ]
  for (const [name, change, message] of batches)
    test(name, () =>
      withModel((model) => fails(model.evaluate(undefined, { ...batch, ...change }), 'INVALID_ARGUMENT', message)),
    )

  test('an adapter’s tensors must be all of its targets’, in shape, and no others', () =>
    withModel(async (model) => {
      const tensors = (await model.createAdapter(lora)).tensors()
      const name = 'base_model.model.model.layers.2.mlp.down_proj.lora_B.weight'
      const rest = tensors.filter((tensor) => tensor.name !== name)
      const one = tensors.find((tensor) => tensor.name === name)!
      await fails(model.loadAdapter(lora, rest), 'DATA_INVALID', /layers\.2\.mlp\.down_proj\.lora_B\.weight is missing/)
      const misshapen = { ...one, shape: [one.shape[1], one.shape[0]] as const }
      await fails(model.loadAdapter(lora, [...rest, misshapen]), 'DATA_INVALID', /is \[5, 40\], .* need \[40, 5\]/)
      const foreign = { ...one, name: name.replace('layers.2', 'layers.3') }
      await fails(model.loadAdapter(lora, [...tensors, foreign]), 'DATA_INVALID', /layers\.3\..* belongs to no target/)
    }))

  test('what is closed says so, and closing rejects what is queued', () =>
    withModel(async (model) => {
      const adapter = await model.createAdapter(lora)
      adapter.close()
      await fails(model.accumulate(adapter, batch, 1), 'INVALID_ARGUMENT', /the adapter is closed/)
      const queued = Promise.allSettled(Array.from({ length: 50 }, () => model.evaluate(undefined, batch)))
      model.close()
      const last = (await queued).at(-1)!
      assert.equal(last.status === 'rejected' && (last.reason as NativeError).code, 'CANCELLED')
      await fails(model.evaluate(undefined, batch), 'INVALID_ARGUMENT', /the model is closed/)
    }))
})

test('a process that exits in the middle of an operation exits with its own code', () => {
  const program = `
    import { loadModel } from './trainer-image/native/index.ts'
    import { lora, oddArchitecture, pack, randomDocument, randomWeights } from './test/parity/random-model.ts'
    const { tensors, dispose } = randomWeights(oddArchitecture)
    const model = await loadModel(oddArchitecture, tensors, {
      quantization: { type: 'NF4', blockSize: 64, doubleQuantization: true }, threads: 2,
    })
    dispose()
    const adapter = await model.createAdapter(lora)
    const batch = pack([[randomDocument(2000, 131, 1)]])
    for (let i = 0; i < 100; i++) model.accumulate(adapter, batch, 1).catch(() => {})
    setTimeout(() => process.exit(43), 50)`
  const { status, signal } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: new URL('../..', import.meta.url),
  })
  assert.deepEqual({ status, signal }, { status: 43, signal: null })
})

test('hundreds of loads that fail, are closed at once or are dropped leave the process whole', () =>
  withWeights(async (tensors) => {
    for (let round = 0; round < 150; round++) {
      const failing = Array.from({ length: 3 }, () => loadModel(oddArchitecture, tensors.slice(1), options))
      for (const { status } of await Promise.allSettled(failing)) assert.equal(status, 'rejected')
      const model = await loadModel(oddArchitecture, tensors, options)
      const adapter = model.createAdapter(lora)
      if (round % 2 === 0) model.close()
      const [{ status }] = await Promise.allSettled([adapter])
      assert.ok(status === 'fulfilled' || round % 2 === 0)
    }
  }))
