import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { encodeSafetensors, readFloats, readSafetensorsHeader } from './safetensors.ts'

const root = mkdtempSync(join(tmpdir(), 'safetensors-'))
after(() => rmSync(root, { recursive: true }))
let files = 0
const write = (...chunks: Uint8Array[]): string => {
  const path = join(root, `${files++}.safetensors`)
  writeFileSync(path, Buffer.concat(chunks))
  return path
}
const withHeader = (header: unknown, data = 0): string => {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.byteLength))
  return write(length, json, Buffer.alloc(data))
}
const bytesOf = (array: ArrayBufferView): Uint8Array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength)

test('what is written is read back, aligned and with its metadata', async () => {
  const a = Float32Array.of(1, -2, 3.5, 0)
  const path = write(
    ...encodeSafetensors(
      [
        { name: 'h', dtype: 'F16', shape: [3], data: bytesOf(Uint16Array.of(0x3c00, 0xc000, 0x0001)) },
        { name: 'b', dtype: 'BF16', shape: [2], data: bytesOf(Uint16Array.of(0x3fc0, 0xbf80)) },
        { name: 'a', dtype: 'F32', shape: [2, 2], data: bytesOf(a) },
        { name: 'none', dtype: 'F32', shape: [0, 4], data: new Uint8Array() },
      ],
      { format: 'pt' },
    ),
  )
  const file = await readSafetensorsHeader(path)
  assert.deepEqual(file.metadata, { format: 'pt' })
  assert.deepEqual([...file.tensors.keys()], ['a', 'none', 'b', 'h'])
  assert.equal(file.tensors.get('a')!.offset % 8, 0)
  const handle = await open(path)
  try {
    assert.deepEqual(await readFloats(file, 'a', handle), a)
    assert.deepEqual(await readFloats(file, 'b', handle), Float32Array.of(1.5, -1))
    assert.deepEqual(await readFloats(file, 'h', handle), Float32Array.of(1, -2, 2 ** -24))
  } finally {
    await handle.close()
  }
})

test('equal tensors in any order are equal bytes', () => {
  const tensors = ['x', 'y', 'z'].map((name) => ({
    name,
    dtype: 'F32' as const,
    shape: [1],
    data: bytesOf(Float32Array.of(1)),
  }))
  assert.deepEqual(Buffer.concat(encodeSafetensors(tensors)), Buffer.concat(encodeSafetensors(tensors.toReversed())))
})

const entry = (dtype: string, shape: unknown, begin: unknown, end: unknown) => ({
  dtype,
  shape,
  data_offsets: [begin, end],
})
const refusals = [
  { a_file: 'of four bytes', path: () => write(Buffer.alloc(4)), says: /4 bytes are too few/ },
  {
    a_file: 'whose header is longer than the file',
    path: () => write(Buffer.alloc(8, 0xff), Buffer.alloc(64)),
    says: /header claims 18446744073709551615 bytes but the file has 72/,
  },
  { a_file: 'whose header is not JSON', path: () => withHeader('{"a":'), says: /not JSON/ },
  { a_file: 'whose header is a list', path: () => withHeader([]), says: /not a JSON object/ },
  {
    a_file: 'with a dtype of 8 bits',
    path: () => withHeader({ w: entry('F8_E4M3', [1], 0, 1) }, 1),
    says: /tensor w has dtype "F8_E4M3"; supported are F64, F32/,
  },
  {
    a_file: 'with a dtype that every object has',
    path: () => withHeader({ w: entry('constructor', [1], 0, 1) }, 1),
    says: /dtype "constructor"/,
  },
  { a_file: 'with a negative size', path: () => withHeader({ w: entry('F32', [-1], 0, 4) }, 4), says: /shape \[-1\]/ },
  {
    a_file: 'with a fraction for a size',
    path: () => withHeader({ w: entry('F32', [1.5], 0, 6) }, 6),
    says: /shape \[1.5\]/,
  },
  {
    a_file: 'with a shape whose product overflows',
    path: () => withHeader({ w: entry('F32', [2 ** 40, 2 ** 40], 0, 4) }, 4),
    says: /needs NaN/,
  },
  {
    a_file: 'with offsets the wrong way round',
    path: () => withHeader({ w: entry('F32', [1], 4, 0) }, 4),
    says: /data_offsets \[4,0\]/,
  },
  {
    a_file: 'with offsets that are no numbers',
    path: () => withHeader({ w: entry('F32', [1], '0', 4) }, 4),
    says: /data_offsets/,
  },
  {
    a_file: 'whose bytes do not fit the shape',
    path: () => withHeader({ w: entry('F32', [2], 0, 4) }, 4),
    says: /tensor w \(F32 \[2\]\) holds 4 bytes; its shape needs 8/,
  },
  {
    a_file: 'that is truncated',
    path: () => withHeader({ w: entry('F32', [2], 0, 8) }, 7),
    says: /tensor w ends at byte \d+ but the file has \d+: the file is truncated/,
  },
  {
    a_file: 'with overlapping tensors',
    path: () => withHeader({ v: entry('F32', [1], 0, 4), w: entry('F32', [1], 2, 6) }, 6),
    says: /tensor w begins at byte \d+; expected \d+: tensors overlap/,
  },
  { a_file: 'with a gap', path: () => withHeader({ w: entry('F32', [1], 4, 8) }, 8), says: /overlap or leave a gap/ },
  {
    a_file: 'with bytes behind the last tensor',
    path: () => withHeader({ w: entry('F32', [1], 0, 4) }, 5),
    says: /last tensor ends at byte \d+ but the file has \d+/,
  },
]
for (const { a_file, path, says } of refusals)
  test(`a file ${a_file} is refused`, async () => {
    await assert.rejects(readSafetensorsHeader(path()), { reason: 'SourceInvalid', message: says })
  })
