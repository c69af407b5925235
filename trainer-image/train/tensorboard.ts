import { appendFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { BinaryWriter } from '@bufbuild/protobuf/wire'

/*
 * TensorBoard's event files: TFRecords (length, masked CRC-32C of the length, data, masked CRC-32C of the data; little
 * endian) of tensorflow.Event messages. Field numbers are those of event.proto and summary.proto.
 */

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})

/** CRC-32C (Castagnoli). */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

/** TFRecord rotates and offsets its sums, because a sum over data that holds sums is weak. */
export function maskedCrc32c(bytes: Uint8Array): number {
  const crc = crc32c(bytes)
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

export function tfRecord(data: Uint8Array): Buffer {
  const record = Buffer.alloc(8 + 4 + data.byteLength + 4)
  record.writeBigUInt64LE(BigInt(data.byteLength), 0)
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8)
  record.set(data, 12)
  record.writeUInt32LE(maskedCrc32c(data), 12 + data.byteLength)
  return record
}

/** Event{wall_time = 1, step = 2}; `what` writes one of the oneof. */
function event(time: Date, step: number, what: (writer: BinaryWriter) => void): Buffer {
  const writer = new BinaryWriter()
  writer.uint32((1 << 3) | 1).double(time.getTime() / 1000)
  if (step !== 0) writer.uint32((2 << 3) | 0).int64(step)
  what(writer)
  return tfRecord(writer.finish())
}

const fileVersion = (time: Date): Buffer =>
  event(time, 0, (writer) => writer.uint32((3 << 3) | 2).string('brain.Event:2'))

/** Event.session_log = 7 with status START = 1: readers forget what earlier files said from this step on. */
const sessionStart = (time: Date, step: number): Buffer =>
  event(time, step, (writer) =>
    writer
      .uint32((7 << 3) | 2)
      .fork()
      .uint32((1 << 3) | 0)
      .int32(1)
      .join(),
  )

/** Event.summary = 5: Summary.value = 1: Value{tag = 1, simple_value = 2}. */
const scalarSummary = (time: Date, step: number, scalars: Readonly<Record<string, number>>): Buffer =>
  event(time, step, (writer) => {
    writer.uint32((5 << 3) | 2).fork()
    for (const [tag, value] of Object.entries(scalars))
      writer
        .uint32((1 << 3) | 2)
        .fork()
        .uint32((1 << 3) | 2)
        .string(tag)
        .uint32((2 << 3) | 5)
        .float(value)
        .join()
    writer.join()
  })

export interface ScalarLog {
  /** Appends scalars such as "train/loss" at a step; undefined and non-finite ones are left out. */
  write(step: number, scalars: Readonly<Record<string, number | undefined>>): Promise<void>
}

export const noScalarLog: ScalarLog = { write: async () => {} }

/** A new event file of this attempt. `firstStep`: what earlier attempts logged from this step on no longer counts. */
export async function openScalarLog(
  directory: string,
  podName: string,
  firstStep: number,
  now: () => Date = () => new Date(),
): Promise<ScalarLog> {
  await mkdir(directory, { recursive: true })
  const opened = now()
  const seconds = String(Math.floor(opened.getTime() / 1000)).padStart(10, '0')
  const path = join(directory, `events.out.tfevents.${seconds}.${podName}.${process.pid}.0`)
  await appendFile(path, Buffer.concat([fileVersion(opened), sessionStart(opened, firstStep)]))
  return {
    async write(step, scalars) {
      const known = Object.entries(scalars).filter((entry): entry is [string, number] => Number.isFinite(entry[1]))
      if (known.length > 0) await appendFile(path, scalarSummary(now(), step, Object.fromEntries(known)))
    },
  }
}
