import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { bnb4bitSources, isBnb4bit, requireForm } from '../../trainer-image/model/bnb-4bit.ts'
import { architectureOf } from '../../trainer-image/model/config.ts'
import { expectedTensors } from '../../trainer-image/model/llama.ts'
import { readSafetensorsHeader } from '../../trainer-image/model/safetensors.ts'
import { readTensorIndex } from '../../trainer-image/model/safetensors-folder.ts'
import { type Batch, loadModel, readTensor } from '../../trainer-image/native/index.ts'
import { relativeError } from './random-model.ts'

// Folders that transformers and bitsandbytes saved, and what they compute from them: make_quantized.py.
const golden = (name: string): string => fileURLToPath(new URL(`golden/${name}`, import.meta.url))
const read = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

const documents = await readSafetensorsHeader(golden('golden.safetensors'))
const integers = (name: string): Int32Array => {
  const { offset, bytes } = documents.tensors.get(name)!
  return new Int32Array(new Uint8Array(readFileSync(documents.path).subarray(offset, offset + bytes)).buffer)
}
const starts = integers('documents')
const batch: Batch = {
  tokens: integers('tokens'),
  labels: integers('labels'),
  documents: starts,
  sequences: Int32Array.of(0, starts.at(-1)!),
  sequenceOrdinals: Int32Array.of(0),
}
/** As in golden.test.ts: f32 sums in another order. */
const ROUNDING = 2e-5

const folders = [
  { name: 'bnb-double', form: { type: 'NF4', blockSize: 64, doubleQuantization: true }, in16: 5 },
  { name: 'bnb-plain', form: { type: 'NF4', blockSize: 128, doubleQuantization: false }, in16: 0 },
] as const

async function sources(folder: string) {
  const config = read(join(folder, 'config.json'))
  assert.ok(isBnb4bit('config.json', config))
  return { config, ...(await bnb4bitSources(folder, (await readTensorIndex(folder)).tensors)) }
}

for (const { name, form, in16 } of folders)
  suite(`${name}, a folder that bitsandbytes saved in 4 bits`, () => {
    const expected = read(join(golden(name), 'expected.json')) as { dequantized: Record<string, string>; nll: number[] }

    test('is read with the form it has, and with every tensor of the architecture', async () => {
      const { config, tensors, quantization } = await sources(golden(name))
      assert.deepEqual(quantization, form)
      const shapes = expectedTensors(architectureOf('config.json', config))
      assert.deepEqual(
        new Map(tensors.map(({ name, shape }) => [name, [...shape]])),
        new Map([...shapes].map(([name, shape]) => [name, [...shape]])),
      )
      const linear = tensors.filter(({ name }) => name.endsWith('_proj.weight'))
      assert.equal(linear.filter(({ dtype }) => dtype === 'BF16').length, in16)
    })

    test('has bitsandbytes’ values, bit for bit', async () => {
      const { tensors } = await sources(golden(name))
      const ours = tensors
        .filter(({ dtype }) => dtype === 'NF4')
        .map((source) => {
          const { buffer } = readTensor(source)
          return [source.name, createHash('sha256').update(new Uint8Array(buffer)).digest('hex')]
        })
      assert.deepEqual(Object.fromEntries(ours), expected.dequantized)
    })

    test('has transformers’ losses, whatever quantisation is asked for', async () => {
      const { config, tensors, quantization } = await sources(golden(name))
      for (const asked of [quantization, { ...quantization, type: 'None' } as const]) {
        const model = await loadModel(architectureOf('config.json', config), tensors, {
          quantization: asked,
          threads: 2,
        })
        const { nll } = await model.evaluate(undefined, batch)
        model.close()
        assert.ok(relativeError(nll, expected.nll) < ROUNDING, `${nll} and ${expected.nll}`)
      }
    })
  })

const config = read(join(golden('bnb-plain'), 'config.json'))
const refused = [
  [{ bnb_4bit_quant_type: 'fp4' }, /bnb_4bit_quant_type is "fp4"; expected "nf4"/],
  [{ bnb_4bit_quant_type: undefined }, /bnb_4bit_quant_type is absent; expected "nf4"/],
  [{ load_in_8bit: true, load_in_4bit: false }, /load_in_4bit is false; expected true, with load_in_8bit false/],
  [{ bnb_4bit_quant_storage: 'bfloat16' }, /bnb_4bit_quant_storage is "bfloat16"; expected "uint8"/],
  [{ quant_method: 'awq' }, /quantization_config: quant_method is "awq"; expected "bitsandbytes"/],
] as const
for (const [change, says] of refused)
  test(`config.json with ${JSON.stringify(change)} is refused`, () => {
    const changed = { ...config, quantization_config: { ...config.quantization_config, ...change } }
    assert.throws(() => architectureOf('config.json', changed), { reason: 'SourceInvalid', message: says })
  })

/** Same length, so that the file's header still holds. */
const damaged: readonly (readonly [string, string, string, RegExp])[] = [
  ['bnb-plain', '"nf4", "blocksize": 128', '"nf4", "blocksize": 127', /blocksize is 127; expected an even number/],
  ['bnb-plain', '"blocksize": 128, ', '"blocksize": 64,  ', /absmax is F32 \[\d+\]; expected F32 with \d+ values/],
  ['bnb-plain', '"shape": [88, 56]', '"shape": [0, 56] ', /shape is \[0,56\]; expected two sizes/],
  ['bnb-plain', '{"quant_type"', '["quant_type"', /not JSON/],
  ['bnb-double', '"nested_blocksize": 256', '"nested_blocksize": 128', /nested_blocksize is 128; expected 256/],
  ['bnb-double', 'bitsandbytes__nf4', 'bitsandbytes__fp4', /saved as bitsandbytes fp4; expected nf4/],
]
for (const [name, from, to, says] of damaged)
  test(`${name} with ${to} is refused`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'bnb-'))
    try {
      cpSync(golden(name), folder, { recursive: true })
      for (const file of [
        'model.safetensors',
        ...Array.from({ length: 8 }, (_, i) => `model-0000${i + 1}-of-00008.safetensors`),
        'model.safetensors.index.json',
      ]) {
        const path = join(folder, file)
        try {
          writeFileSync(path, readFileSync(path, 'latin1').replaceAll(from, to), 'latin1')
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
        }
      }
      await assert.rejects(sources(folder), { reason: 'SourceInvalid', message: says })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

test('a run must ask for the form that the base was saved in', () => {
  const saved = { type: 'NF4', blockSize: 64, doubleQuantization: true } as const
  requireForm('base', saved, { ...saved })
  requireForm('base', undefined, { ...saved, type: 'None' })
  for (const [change, says] of [
    [{ type: 'None' }, /^quantization\.type is None; expected NF4: base was saved in 4 bits/],
    [{ blockSize: 128 }, /^quantization\.blockSize is 128; expected 64/],
    [{ doubleQuantization: false }, /^quantization\.doubleQuantization is false; expected true/],
  ] as const)
    assert.throws(() => requireForm('base', saved, { ...saved, ...change }), {
      reason: 'ConfigurationInvalid',
      message: says,
    })
})
