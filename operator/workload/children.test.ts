import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Cluster } from '../kube/cluster.ts'
import { Forbidden, Invalid, Unavailable } from '../kube/errors.ts'
import { run } from '../run/world.ts'
import { makeChildren, makeClaim } from './children.ts'
import { attemptConfig } from './job.ts'
import { ownerOf } from './names.ts'

const owner = { ...run(), metadata: { ...run().metadata, resourceVersion: '7' } }
const child = attemptConfig(ownerOf(owner), 'prose-train-1', 1, {})

/** An API server that has the owner, and answers a creation as told. */
const clusterThat = (create: () => Promise<'created' | 'exists'>): Cluster =>
  ({
    get: async ({ kind }: { kind: string }) => (kind === 'QLoRARun' ? owner : undefined),
    create,
  }) as unknown as Cluster
const refuses = (error: Error) => clusterThat(() => Promise.reject(error))

const claimOf = (cluster: Cluster) =>
  makeClaim(cluster, 'team', 'humanizer', { size: '20Gi', accessMode: 'ReadWriteOnce' })
const jobOf = (cluster: Cluster) => makeChildren(cluster, owner, [child])
const quota = new Forbidden(403, 'exceeded quota: mine')
const invalid = new Invalid(422, 'spec.resources: Invalid value: "lots"')

const cases = [
  { a: 'claim', by: 'quota', made: claimOf, error: quota, is: ['wait', 'Forbidden', 60] },
  { a: 'claim', by: 'validation', made: claimOf, error: invalid, is: ['wait', 'ClaimInvalid', 60] },
  { a: 'child', by: 'quota', made: jobOf, error: quota, is: ['wait', 'Forbidden', 60] },
  { a: 'child', by: 'validation', made: jobOf, error: invalid, is: ['stall', 'PodInvalid', undefined] },
] as const
for (const { a, by, made, error, is } of cases)
  test(`a ${a} that is refused by ${by} is said, with the API server's words`, async () => {
    const refusal = await made(refuses(error))
    assert.deepEqual(refusal && [refusal.kind, refusal.reason, 'seconds' in refusal ? refusal.seconds : undefined], is)
    assert.match(refusal?.message ?? '', /^(PersistentVolumeClaim humanizer|ConfigMap prose-train-1): /)
    assert.ok(refusal?.message.endsWith(error.message))
  })

test('a claim that is made, or was made by somebody else meanwhile, is not spoken of', async () => {
  for (const answer of ['created', 'exists'] as const)
    assert.equal(await claimOf(clusterThat(async () => answer)), undefined)
})

test('an API server that does not answer is left to the loop', async () => {
  for (const made of [claimOf, jobOf]) await assert.rejects(made(refuses(new Unavailable(0, 'gone'))), Unavailable)
})
