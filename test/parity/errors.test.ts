import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { closeSync, openSync, truncateSync, writeSync } from 'node:fs'
import { suite, test } from 'node:test'
import { addon } from '../../trainer-image/native/engine-addon.ts'
import {
  type AdapterTensor,
  type Architecture,
  type Batch,
  type LoraConfig,
  loadModel,
  type Model,
  NativeError,
  quantizeNf4,
  readTensor,
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

function overwrite(file: string, at: number, bytes: Uint8Array): void {
  const descriptor = openSync(file, 'r+')
  writeSync(descriptor, bytes, 0, bytes.length, at)
  closeSync(descriptor)
}

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

  for (const name of ['model.embed_tokens.weight', 'model.layers.2.mlp.down_proj.weight', 'model.norm.weight'])
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY])
      for (const type of ['NF4', 'None'] as const)
        test(`${name} has ${value} as its last value, quantisation ${type}`, () =>
          withWeights(async (tensors) => {
            const { file, offset, bytes } = tensors.find((tensor) => tensor.name === name)!
            overwrite(file, offset + bytes - 4, new Uint8Array(Float32Array.of(value).buffer))
            const quantization = { ...options.quantization, type }
            const promise = loadModel(oddArchitecture, tensors, { ...options, quantization })
            await fails(promise, 'DATA_INVALID', new RegExp(`tensor ${name} has a value that is no finite number`))
          }))

  const infinities = [
    { dtype: 'F16', values: 3, bytes: 6, at: 4, infinity: [0x00, 0x7c] },
    { dtype: 'BF16', values: 3, bytes: 6, at: 2, infinity: [0x80, 0xff] },
    { dtype: 'Q8_0', values: 64, bytes: 68, at: 34, infinity: [0x01, 0x7e] },
    { dtype: 'Q4_0', values: 64, bytes: 36, at: 18, infinity: [0x00, 0xfc] },
    { dtype: 'Q4_1', values: 64, bytes: 40, at: 22, infinity: [0x00, 0x7c] },
    { dtype: 'Q6_K', values: 512, bytes: 420, at: 418, infinity: [0x00, 0x7c] },
  ] as const
  for (const { dtype, values, bytes, at, infinity } of infinities)
    test(`${dtype} with a number that is not finite; the largest finite one is read`, () =>
      withWeights(async ([{ file } = assert.fail()]) => {
        const tensor = { name: 'w', dtype, file, shape: [values], offset: 0, bytes }
        overwrite(file, 0, new Uint8Array(bytes))
        overwrite(file, at, Uint8Array.from(dtype === 'BF16' ? [0x7f, 0x7f] : [0xff, 0x7b]))
        assert.ok(readTensor(tensor).every(Number.isFinite))
        overwrite(file, at, Uint8Array.from(infinity))
        assert.throws(() => readTensor(tensor), { code: 'DATA_INVALID', message: /tensor w has a value/ })
      }))

  const shapes: [string, Partial<TensorSource>, RegExp][] = [
    ['no dimension', { shape: [] }, /last dimension must be a multiple/],
    ['three dimensions', { shape: [1, 1, 1] }, /last dimension must be a multiple/],
    [
      'sizes whose product wraps',
      { shape: [2 ** 31 - 1, 2 ** 31 - 1], bytes: 4 },
      /dimension of 2147483647 is too large/,
    ],
    [
      'rows that are no heads of pairs',
      { shape: [6, 1], bytes: 24, unpermuteHeads: 2 },
      /6 rows are not 2 heads of even/,
    ],
    [
      'more heads than rows',
      { shape: [2, 1], bytes: 8, unpermuteHeads: 2 ** 31 - 1 },
      /2 rows are not 2147483647 heads/,
    ],
    [
      'a bias in blocks to be put in another order',
      { dtype: 'Q8_0', shape: [64], bytes: 68, unpermuteHeads: 2 },
      /values of a bias in blocks cannot change places/,
    ],
  ]
  for (const [name, change, message] of shapes)
    test(`a tensor of ${name}`, () =>
      withWeights(async ([tensor = assert.fail()]) => {
        const { unpermuteHeads: _, ...rest } = tensor
        assert.throws(() => readTensor({ ...rest, name: 'w', ...change }), { code: 'DATA_INVALID', message })
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

/** An array where another type is expected. */
const other = (array: unknown) => array as Int32Array & Float32Array

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

  test('a policy of activation checkpointing that is none', () =>
    withWeights((tensors) => {
      const activationCheckpointing = 'Auto' as 'None'
      const message = /activationCheckpointing is 'Auto', expected None, Selective, Full or Offload/
      return fails(
        loadModel(oddArchitecture, tensors, { ...options, activationCheckpointing }),
        'INVALID_ARGUMENT',
        message,
      )
    }))

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
    ['tokens as Int16Array', { tokens: other(new Int16Array(20)) }, /batch\.tokens is Int16Array, expected an Int32/],
    ['labels as Float64Array', { labels: other(new Float64Array(20)) }, /batch\.labels is Float64Array, expected an/],
    ['documents as a list', { documents: other([0, 20]) }, /batch\.documents is Array, expected an Int32Array/],
    ['sequences as Float32Array', { sequences: other(Float32Array.of(0, 20)) }, /batch\.sequences is Float32Array/],
    ['ordinals as Uint32Array', { sequenceOrdinals: other(Uint32Array.of(0)) }, /batch\.sequenceOrdinals is Uint32Ar/],
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

  test('an adapter’s tensors must each be there once, as many float32 numbers as their shape says', () =>
    withModel(async (model) => {
      const adapter = await model.createAdapter(lora)
      const [first, ...rest] = adapter.tensors()
      const { name, shape, data } = first!
      const load = (...tensors: AdapterTensor[]) => model.loadAdapter(lora, [...tensors, ...rest])
      await fails(load(first!, first!), 'DATA_INVALID', new RegExp(`adapter tensor ${name} stands twice`))
      const bytes = { ...first!, data: other(new Uint8Array(data.length)) }
      await fails(load(bytes), 'INVALID_ARGUMENT', /data is Uint8Array, expected a Float32Array/)
      const short = { ...first!, data: data.subarray(1) }
      await fails(load(short), 'INVALID_ARGUMENT', /data.length is 199, expected 5 · 40/)
      const flat = { ...first!, shape: other([shape[0] * shape[1]]) as unknown as AdapterTensor['shape'] }
      await fails(load(flat), 'INVALID_ARGUMENT', /shape is \[200\], expected two sizes/)
      const { firstMoment, secondMoment } = adapter.optimizerState()
      assert.throws(
        () => adapter.restoreOptimizer({ firstMoment, secondMoment: [...secondMoment, secondMoment[0]!] }),
        {
          code: 'DATA_INVALID',
          message: /stands twice/,
        },
      )
      assert.throws(() => adapter.restoreOptimizer({ firstMoment, secondMoment: [bytes, ...secondMoment.slice(1)] }), {
        code: 'INVALID_ARGUMENT',
      })
    }))

  test('the addon itself reads no typed array as one of another type', () =>
    withWeights(async (tensors) => {
      const nf4 = { nf4: true, blockSize: 64, doubleQuantization: true }
      const model = await addon().loadModel(
        oddArchitecture,
        tensors,
        nf4,
        1,
        'Full',
        () => {},
        undefined,
        undefined,
        true,
      )
      const refusal = { code: 'INVALID_ARGUMENT', message: /a typed array is of another type/ }
      for (const field of ['tokens', 'labels', 'documents', 'sequences', 'sequenceOrdinals'] as const) {
        const evaluate = (value: unknown) => addon().evaluate(model, undefined, { ...batch, [field]: other(value) })
        assert.throws(() => evaluate(Float64Array.from(batch[field])), refusal, field)
        assert.throws(() => evaluate([...batch[field]]), refusal, field)
        assert.throws(() => evaluate(new DataView(new ArrayBuffer(80))), refusal, field)
      }
      const tensor = { name: 'w', shape: [5, 40] as const, data: other(new Uint8Array(200)) }
      assert.throws(() => addon().createAdapter(model, lora, [tensor]), refusal)
      addon().closeModel(model)
    }))

  const values = Float32Array.of(1, -2, 3, 4)
  const notQuantized: [string, Float32Array, number, RegExp][] = [
    ['an odd block', values, 3, /blockSize is 3, expected an even number/],
    ['no value', values.subarray(4), 2, /values\.length is 0, expected at least one value/],
    ['doubles', other(Float64Array.from(values)), 2, /values is Float64Array, expected a Float32Array/],
    ['a NaN', Float32Array.of(1, 2, Number.NaN, 4), 2, /values is not finite in block 1, expected finite numbers/],
    ['an infinity', Float32Array.of(1, Number.NEGATIVE_INFINITY), 2, /values is not finite in block 0/],
  ]
  for (const [name, of, block, message] of notQuantized)
    test(`quantizeNf4 of ${name}`, () =>
      assert.throws(() => quantizeNf4(of, block), { name: 'NativeError', code: 'INVALID_ARGUMENT', message }))

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
