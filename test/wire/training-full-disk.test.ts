import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { verifySealed } from '../../trainer-image/storage/sealed.ts'
import { smallDisk } from '../fixtures/small-disk.ts'
import { type Claim, makeClaim, runToEnd, startPod, stepsOf } from './training-pod.ts'

const page = 4096

/** Bytes that a folder takes on a file system of memory, which counts pages. */
function pagesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => (entry.isFile() ? statSync(join(entry.parentPath, entry.name)).size : 0))
    .reduce((sum, size) => sum + page * Math.ceil(size / page), 0)
}

const change = (config: Claim['config']): Claim['config'] => ({
  ...config,
  lora: { ...config.lora!, rank: 64 },
  evaluation: { ...config.evaluation!, everySteps: 0 },
  checkpoints: { everySteps: 8, keep: 3 },
})

test('a disk that is full in the middle of a checkpoint leaves the one before whole; with more room the run goes on', async () => {
  const whole = await makeClaim(change)
  const disk = await smallDisk(1 << 30)
  try {
    const given = pagesOf(whole.dataDir)
    const uninterrupted = await runToEnd(whole, whole.config, 'pod-whole')
    const checkpoint = pagesOf(join(whole.runDirectory, 'checkpoint-24'))
    assert.ok(checkpoint > 64 * page, 'large beside the small files of a run')

    const dataDir = join(disk.path, 'claim')
    mkdirSync(dataDir)
    const claim = await makeClaim(change, { dataDir })
    disk.grow(given + 1.5 * checkpoint)
    const { code, result, output } = await startPod(claim, claim.config, 'pod-full').ended
    assert.equal(code, 74, output)
    assert.equal(result?.reason, 'StorageFull')
    assert.deepEqual(stepsOf(claim), [8])
    const { digest } = await verifySealed(join(claim.runDirectory, 'checkpoint-8'))
    assert.deepEqual(
      result?.run?.checkpoints.map(({ name, digest }) => [name, digest]),
      [['checkpoint-8', digest]],
    )

    disk.grow(given + 10 * checkpoint)
    const report = await runToEnd(claim, { ...claim.config, attempt: 2 }, 'pod-full')
    assert.deepEqual([report.resumedFromStep, report.exact], [8, true])
    assert.deepEqual(report.checkpoints, uninterrupted.checkpoints)
    const adapterOf = ({ runDirectory }: Claim) =>
      readFileSync(join(runDirectory, 'checkpoint-24/adapter_model.safetensors'))
    assert.ok(adapterOf(claim).equals(adapterOf(whole)))
  } finally {
    await disk.remove()
    whole.remove()
  }
})
