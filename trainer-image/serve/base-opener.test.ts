import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { status } from '@grpc/grpc-js'
import { pino } from 'pino'
import { JobFailure } from '../job/failure.ts'
import type { Base } from './base.ts'
import { baseOpener } from './base-opener.ts'

const base = { name: 'tiny' } as Base
const log = pino({ level: 'silent' })

test('everyone who asks shares one opening, and the base once it is there', async () => {
  let openings = 0
  const open = baseOpener(async () => {
    openings++
    await sleep(5)
    return base
  }, log)
  assert.deepEqual(await Promise.all([open(), open()]), [base, base])
  assert.equal(await open(), base)
  assert.equal(openings, 1)
})

test('a failure is told in its own words for a while, then the base is opened again', async () => {
  let openings = 0
  const open = baseOpener(
    async () => {
      openings++
      if (openings === 1) throw new JobFailure('SourceInvalid', 'the file is truncated')
      return base
    },
    log,
    50,
  )
  for (let asked = 0; asked < 2; asked++)
    await assert.rejects(open(), { status: status.FAILED_PRECONDITION, message: 'the file is truncated' })
  assert.equal(openings, 1)
  await sleep(60)
  assert.equal(await open(), base)
  assert.equal(openings, 2)
})
