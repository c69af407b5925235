import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { BinaryReader } from '@bufbuild/protobuf/wire'
import { crc32c, maskedCrc32c, openScalarLog } from './tensorboard.ts'

test('CRC-32C agrees with the check values of RFC 3720', () => {
  assert.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  assert.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa)
  assert.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
})

/** Splits TFRecords and checks both sums of each. */
function recordsOf(file: Buffer): Buffer[] {
  const records: Buffer[] = []
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at))
    assert.equal(file.readUInt32LE(at + 8), maskedCrc32c(file.subarray(at, at + 8)))
    const data = file.subarray(at + 12, at + 12 + length)
    assert.equal(file.readUInt32LE(at + 12 + length), maskedCrc32c(data))
    records.push(data)
    at += 16 + length
  }
  return records
}

type Fields = Map<number, (number | Uint8Array)[]>
/** The fields of one message by number; what a generic protobuf reader sees. */
function fieldsOf(message: Uint8Array): Fields {
  const reader = new BinaryReader(message)
  const fields: Fields = new Map()
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag()
    const value =
      wire === 0 ? Number(reader.int64()) : wire === 1 ? reader.double() : wire === 5 ? reader.float() : reader.bytes()
    fields.set(field, [...(fields.get(field) ?? []), value])
  }
  return fields
}
const text = (value: unknown): string => Buffer.from(value as Uint8Array).toString()

test('an event file holds version, session start and the scalars, readable by TensorBoard', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'events-'))
  const log = await openScalarLog(directory, 'pod-1', 11, () => new Date(1_700_000_000_500))
  await log.write(12, { 'train/loss': 1.5, 'train/grad_norm': undefined, 'eval/loss': Number.NaN })
  await log.write(13, { 'train/loss': undefined })
  const [name] = readdirSync(directory)
  assert.match(name ?? '', /^events\.out\.tfevents\.1700000000\.pod-1\.\d+\.0$/)
  const events = recordsOf(readFileSync(join(directory, name!))).map(fieldsOf)
  rmSync(directory, { recursive: true })
  assert.equal(events.length, 3)
  assert.deepEqual(
    events.map((event) => event.get(1)?.[0]),
    [1_700_000_000.5, 1_700_000_000.5, 1_700_000_000.5],
  )
  assert.equal(text(events[0]!.get(3)?.[0]), 'brain.Event:2')
  assert.equal(events[1]!.get(2)?.[0], 11)
  assert.equal(fieldsOf(events[1]!.get(7)?.[0] as Uint8Array).get(1)?.[0], 1)
  assert.equal(events[2]!.get(2)?.[0], 12)
  const values = fieldsOf(events[2]!.get(5)?.[0] as Uint8Array).get(1)!
  assert.equal(values.length, 1)
  const value = fieldsOf(values[0] as Uint8Array)
  assert.deepEqual([text(value.get(1)?.[0]), value.get(2)?.[0]], ['train/loss', 1.5])
})
