import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { architectureOf } from '../../trainer-image/model/config.ts'
import { readAdapter, type StoredAdapter, writeAdapter } from '../../trainer-image/model/peft.ts'
import { readSafetensorsHeader, type SafetensorsFile } from '../../trainer-image/model/safetensors.ts'
import { loadModel, type Model, mergeTensor, type TensorSource } from '../../trainer-image/native/index.ts'
import { relativeError } from './random-model.ts'

// What make_adapters.py wrote: an adapter folder of PEFT's and what PEFT computes with it; steps of AdamW in 8 bits.
const golden = (name: string): string => fileURLToPath(new URL(`golden/${name}`, import.meta.url))
const base = await readSafetensorsHeader(golden('golden.safetensors'))
const file = await readSafetensorsHeader(golden('adapters.safetensors'))
const peft = golden('peft')

function raw({ path, tensors }: SafetensorsFile, name: string): Buffer {
  const { offset, bytes } = tensors.get(name)!
  return Buffer.from(readFileSync(path).subarray(offset, offset + bytes))
}
const floats = (name: string) => new Float32Array(new Uint8Array(raw(file, name)).buffer)
const source = (of: SafetensorsFile, key: string, name: string): TensorSource => {
  const { shape, offset, bytes, dtype } = of.tensors.get(key)!
  return { name, shape, offset, bytes, dtype: dtype as 'BF16' | 'F16', file: of.path }
}

const settings = JSON.parse(base.metadata.settings!)
const architecture = architectureOf('settings', {
  ...settings.shape,
  rope_parameters: settings.rope,
  architectures: ['LlamaForCausalLM'],
})
const names = [...base.tensors.keys()].filter((name) => name.startsWith('base/')).map((name) => name.slice(5))
const tokens = new Int32Array(new Uint8Array(raw(base, 'tokens')).buffer)
const documents = new Int32Array(new Uint8Array(raw(base, 'documents')).buffer).subarray(0, 3)

/** As in golden.test.ts: f32 sums in another order. */
const ROUNDING = 2e-5

suite('an adapter that PEFT wrote', () => {
  let model: Model
  let stored: StoredAdapter
  before(async () => {
    const tensors = names.map((name) => source(base, `base/${name}`, name))
    const quantization = { type: 'None', blockSize: 64, doubleQuantization: false } as const
    model = await loadModel(architecture, tensors, { quantization, threads: 2 })
    stored = await readAdapter(peft, architecture)
  })
  after(() => model.close())

  test('gives PEFT’s logits: the same first token, and an error below that of bfloat16', async () => {
    const { config, tensors } = stored
    const adapter = await model.loadAdapter({ ...config, seed: 0 }, tensors)
    const logits: number[] = []
    for (let d = 0; d + 1 < documents.length; d++) {
      const sequence = model.openSequence(adapter, 200)
      for (const token of tokens.subarray(documents[d], documents[d + 1])) {
        const [next] = await model.forward([{ sequence, tokens: Int32Array.of(token) }])
        logits.push(...next!)
      }
      sequence.close()
    }
    const expected = floats('logits')
    const size = architecture.vocabularySize
    const first = (values: ArrayLike<number>, row: number): number => {
      const of = Array.prototype.slice.call(values, row * size, (row + 1) * size) as number[]
      return of.indexOf(Math.max(...of))
    }
    const rows = documents.at(-1)!
    let same = 0
    for (let row = 0; row < rows; row++) same += first(logits, row) === first(expected, row) ? 1 : 0
    assert.ok(same / rows >= 0.99, `${same} of ${rows}`)
    const error = logits.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0)
    assert.ok(error <= 2 * floats('bfloat16_error')[0]!, String(error))
    assert.ok(relativeError(logits, expected) < ROUNDING, String(relativeError(logits, expected)))
  })

  test('is written by us as PEFT wrote it: names, types, shapes and bytes of tensors, and every field that we write', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'adapter-'))
    try {
      await writeAdapter(folder, stored)
      const [ours, theirs] = await Promise.all(
        [folder, peft].map((path) => readSafetensorsHeader(join(path, 'adapter_model.safetensors'))),
      )
      assert.deepEqual(ours!.metadata, theirs!.metadata)
      assert.deepEqual([...ours!.tensors.keys()].sort(), [...theirs!.tensors.keys()].sort())
      for (const [name, { dtype, shape }] of theirs!.tensors) {
        const own = ours!.tensors.get(name)!
        assert.deepEqual([own.dtype, own.shape], [dtype, shape], name)
        assert.ok(raw(ours!, name).equals(raw(theirs!, name)), name)
      }
      const [written, expected] = [folder, peft].map((path) =>
        JSON.parse(readFileSync(join(path, 'adapter_config.json'), 'utf8')),
      )
      expected.target_modules.sort()
      expected.base_model_name_or_path ??= '' // this base had no name
      for (const [field, value] of Object.entries(written)) assert.deepEqual(value, expected[field], field)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  suite('trap 15: merged into its base', () => {
    const parts = (name: string) => {
      const { rank, alpha } = stored.config
      const of = (part: string) =>
        stored.tensors.find((tensor) => tensor.name === `base_model.model.${name.replace('.weight', part)}`)!.data
      return { a: of('.lora_A.weight'), b: of('.lora_B.weight'), rank, scale: alpha / rank }
    }
    for (const name of names.filter((name) => name.endsWith('_proj.weight')))
      test(`${name} is PEFT’s merge_and_unload, bit for bit`, () => {
        const merged = mergeTensor(source(base, `base/${name}`, name), parts(name))
        assert.ok(raw(file, `merged/${name}`).equals(merged))
        assert.ok(!raw(base, `base/${name}`).equals(merged))
      })
    test('in float16 too', () => {
      const name = 'model.layers.1.mlp.down_proj.weight'
      const merged = mergeTensor(source(file, `base_f16/${name}`, name), parts(name))
      assert.ok(raw(file, `merged_f16/${name}`).equals(merged))
    })
    test('a value that float16 cannot hold is refused', () => {
      const name = 'model.layers.1.mlp.down_proj.weight'
      assert.throws(() => mergeTensor(source(file, `base_f16/${name}`, name), { ...parts(name), scale: 1e6 }), {
        code: 'DATA_INVALID',
        message: /down_proj\.weight: a merged value is too large for the type of the base/,
      })
    })
  })
})

suite('AdamW in 8 bits, on every instruction path', () => {
  const { lr, weight_decay: decay } = JSON.parse(file.metadata.settings!)
  const at = (name: string) => file.tensors.get(`adamw8bit/${name}`)!
  const steps = at('gradients').shape[0]!
  const count = at('parameter').shape.reduce((product, size) => product * size, 1)
  const blocks = Math.ceil(count / 256)
  const program = fileURLToPath(new URL('../../build/native/parity_adamw8bit', import.meta.url))
  const offsets = [at('parameter').offset, at('gradients').offset]
  const printed = execFileSync(program, [file.path, count, ...offsets, steps, lr, decay].map(String), {
    maxBuffer: 2 ** 28,
  })
  const stepBytes = count * 6 + blocks * 8
  const paths = printed.byteLength / (steps * stepBytes)

  /** After a step, as the program prints it. */
  function stateOf(path: number, step: number) {
    let from = (path * steps + step - 1) * stepBytes
    const next = (bytes: number): Buffer => {
      from += bytes
      return printed.subarray(from - bytes, from)
    }
    const f32 = (bytes: Buffer) => new Float32Array(new Uint8Array(bytes).buffer)
    return {
      parameter: f32(next(4 * count)),
      first: next(count),
      second: next(count),
      first_absmax: f32(next(4 * blocks)),
      second_absmax: f32(next(4 * blocks)),
    }
  }
  assert.ok(Number.isInteger(paths) && paths >= 1, `${printed.byteLength} bytes`)

  for (const step of [1, 6])
    test(`after step ${step} parameters, codes and scales are those of bitsandbytes’ kernel, bit for bit`, () => {
      for (let path = 0; path < paths; path++) {
        const { first, second, ...values } = stateOf(path, step)
        for (const [name, own] of Object.entries({ first, second }))
          assert.ok(own.equals(raw(file, `adamw8bit/${step}/${name}`)), `${name}, path ${path}`)
        for (const [name, own] of Object.entries(values))
          assert.deepEqual(own, floats(`adamw8bit/${step}/${name}`), `${name}, path ${path}`)
      }
    })

  // Later the two kernels part where a block spans many powers of ten: a v of 0 beside an m that kept its sign makes a long step.
  for (const [step, differing] of [[1, 0.002]] as const)
    test(`after step ${step} they are near what bitsandbytes.optim.AdamW8bit says on a CPU`, () => {
      const theirs = `adamw8bit/bitsandbytes/${step}`
      const own = stateOf(0, step)
      assert.ok(relativeError(own.parameter, floats(`${theirs}/parameter`)) < 1e-5)
      assert.ok(relativeError(own.first_absmax, floats(`${theirs}/first_absmax`)) < 1e-5)
      assert.ok(relativeError(own.second_absmax, floats(`${theirs}/second_absmax`)) < 1e-5)
      for (const moment of ['first', 'second'] as const) {
        const codes = raw(file, `${theirs}/${moment}`)
        // 126 and 127: the CPU kernel lets a small negative m become 0, the CUDA kernel keeps its sign, one code lower.
        const apart = own[moment].map((code, i) =>
          moment === 'first' && code === 126 && codes[i] === 127 ? 0 : Math.abs(code - codes[i]!),
        )
        assert.ok(Math.max(...apart) <= 1, `${moment}: ${Math.max(...apart)} codes apart`)
        const share = apart.filter((distance) => distance > 0).length / count
        assert.ok(share <= differing, `${moment}: ${share} of the codes differ`)
      }
    })
})
