import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reclaimOf } from '../workload/reclaim.ts'
import { fetchChildren } from './fetch-job.ts'
import { statusAfter } from './status.ts'
import { modelClaim } from './train-config.ts'
import { trainChildren } from './train-job.ts'
import { model, nobody, run, start } from './world.ts'

const settings = { trainerImage: 'trainer:1', trainerImagePullPolicy: 'IfNotPresent', publicKeyPem: 'PEM' }
const claim = { name: 'humanizer', singleNode: false }
const plan = { microBatchSize: 1, gradientAccumulation: 1 }

interface JobWithPod {
  spec: {
    template: {
      spec: {
        volumes: { name: string; persistentVolumeClaim?: { claimName: string } }[]
        containers: { volumeMounts: { name: string; mountPath: string; readOnly: boolean }[] }[]
      }
    }
  }
}
function claimsOf(job: unknown): string[] {
  const { volumes, containers } = (job as JobWithPod).spec.template.spec
  return containers[0]!.volumeMounts.flatMap(({ name, mountPath, readOnly }) => {
    const claim = volumes.find((volume) => volume.name === name)?.persistentVolumeClaim?.claimName
    return claim ? [`${claim} ${mountPath}${readOnly ? ' read-only' : ''}`] : []
  })
}

test("the dataset's chat template goes with the fetching of a base, which may have none", () => {
  const format = { sample: 'Denoise', systemPrompt: '', userTemplate: '{text}', chatTemplate: '{{ messages }}' }
  const configOf = (status: NonNullable<ReturnType<typeof run>['status']>) => {
    const [config] = fetchChildren(run({}, status), 1, claim, settings, reclaimOf(run()))
    return JSON.parse((config as unknown as { data: Record<string, string> }).data['config.json']!)
  }
  assert.equal(configOf({ format }).chatTemplate, format.chatTemplate)
  assert.equal(configOf({}).chatTemplate, undefined)
})

const bases: { a_base: string; claimName: string; pinned: string | undefined; mounts: string[] }[] = [
  {
    a_base: 'on a claim of its own',
    claimName: 'bases',
    pinned: 'bases',
    mounts: ['humanizer /data', 'bases /models-source read-only'],
  },
  { a_base: "on the run's own claim", claimName: 'humanizer', pinned: undefined, mounts: ['humanizer /data'] },
]
for (const { a_base, claimName, pinned, mounts } of bases)
  test(`a base ${a_base} is mounted by both Jobs and pinned so that a release can mount it`, () => {
    const given = run({ baseModel: { volume: { claimName, path: 'tiny.gguf' } } })
    assert.equal(modelClaim(given), pinned)
    const [, fetch] = fetchChildren(given, 1, claim, settings, reclaimOf(given))
    const [, train] = trainChildren(given, 1, plan, claim, settings, reclaimOf(given))
    assert.deepEqual([claimsOf(fetch), claimsOf(train)], [mounts, mounts])
    assert.equal(statusAfter(given, { kind: 'pinModel', model }, start, nobody).model?.claimName, pinned)
  })
