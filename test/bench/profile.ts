/**
 * Where the time of the engine goes: one training step, its products in f32 and in bf16, and one step of answers to eight requests. Of each
 * operation the share of the time and the rate at which it does what the mathematics needs (timed_backend.h counts it; what is made again
 * counts as nothing). settings.ts says what can be chosen.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { availableParallelism, cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { engineInfo, type InstructionPath, type Model, type OpTime } from '../../trainer-image/native/index.ts'
import { argmax, randomDocument } from '../parity/random-model.ts'
import { writeBase } from './base.ts'
import { openFolder } from './engine/model-folder.ts'
import { fullyLabelled, lora, qloraStep } from './engine/qlora-step.ts'
import { chosen, pairs } from './settings.ts'

const threads = availableParallelism()
const rounds = pairs

/** What a table is of: `prepare` warms up and returns what is timed. */
interface Work {
  readonly works: readonly [string]
  prepare(model: Model): Promise<() => Promise<void>>
}

const steps = (
  [
    [4, 256],
    [2, 1024],
  ] as const
).map(
  ([sequences, length]): Work => ({
    works: [`step ${sequences} × ${length}, dropout 0.05`],
    async prepare(model) {
      const adapter = await model.createAdapter(lora(0.05))
      const documents = Array.from({ length: sequences }, (_, s) =>
        randomDocument(length + 1, model.architecture.vocabularySize, s),
      )
      const batch = fullyLabelled(documents)
      let step = 0
      return () => qloraStep(model, adapter, batch, ++step)
    },
  }),
)

const answers = [1, 8].map(
  (requests): Work => ({
    works: [`16 tokens to ${requests} at once`],
    async prepare(model) {
      let turns = Array.from({ length: requests }, (_, i) => ({
        sequence: model.openSequence(undefined, 32 + 16 * (rounds + 1), 32),
        tokens: Int32Array.from(randomDocument(32, model.architecture.vocabularySize, i)),
      }))
      return async () => {
        for (let n = 0; n < 16; n++) {
          const logits = await model.forward(turns)
          turns = turns.map(({ sequence }, i) => ({ sequence, tokens: Int32Array.of(argmax(logits[i]!)) }))
        }
      }
    },
  }),
)

async function profile(folder: string, { works: [work], prepare }: Work, path: InstructionPath): Promise<void> {
  const model = await openFolder(folder, 'NF4', threads, 'Selective', path, true)
  const round = await prepare(model)
  await round()
  model.takeOpTimes()
  const start = performance.now()
  for (let n = 0; n < rounds; n++) await round()
  const seconds = (performance.now() - start) / 1000
  const times = model.takeOpTimes()
  model.close()

  const between = seconds - times.reduce((sum, time) => sum + time.seconds, 0)
  const operations = times.reduce((sum, time) => sum + time.operations, 0)
  const line = (op: string, calls: number | '', of: Pick<OpTime, 'seconds' | 'operations'>): void =>
    console.log(
      `| ${op} | ${calls} | ${((1000 * of.seconds) / rounds).toFixed(1)} | ${((100 * of.seconds) / seconds).toFixed(1)} | ${of.operations > 0 ? (of.operations / of.seconds / 1e9).toFixed(0) : ''} |`,
    )
  console.log(`\n| ${work}, ${path} | calls | ms | % | GFLOP/s |\n|---|---|---|---|---|`)
  for (const time of times) line(time.op, time.calls / rounds, time)
  line('between the operations', '', { seconds: between, operations: 0 })
  line('all', '', { seconds, operations })
}

const folder = mkdtempSync(join(tmpdir(), 'humanizer-profile-'))
try {
  await writeBase(folder)
  const { instructionPath, instructionPaths } = engineInfo()
  const paths = new Set([instructionPath, instructionPaths.at(-1)!])
  console.log(`${cpus()[0]!.model}, ${threads} threads; means of ${rounds}`)
  for (const work of chosen([...steps, ...answers])) for (const path of paths) await profile(folder, work, path)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
