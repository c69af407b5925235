/** prepare.ts FOLDER CLAIM: the whole preparation of the documents, from their files to the sealed dataset, a round. */
import { rmSync } from 'node:fs'
import { pino } from 'pino'
import { prepare } from '../../../trainer-image/dataset/prepare.ts'
import { configOf, contextOf } from '../../../trainer-image/dataset/preparing.ts'
import { answerRounds } from '../answering.ts'

const [folder = '', claim = ''] = process.argv.slice(2)

await answerRounds(async () => {
  rmSync(claim, { recursive: true, force: true })
  await prepare(configOf([{ filePath: folder }]), {
    ...contextOf(claim),
    log: pino({ level: 'warn' }, pino.destination(2)),
  })
})
