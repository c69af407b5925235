/** Runs on real pods, disturbed: what was sealed is never lost, and nothing trains that need not. */
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { kubectl, waitFor } from './kubectl.ts'
import {
  type CustomObject,
  condition,
  datasetSpec,
  holds,
  type Namespace,
  openWorld,
  runSpec,
  type World,
} from './world.ts'

const steps = 240
let world: World
let namespace: Namespace
/** Digests of the checkpoints of a run that nothing disturbed: what every disturbed one must end with. */
let undisturbed: CustomObject

const lastDigest = (run: CustomObject): string | undefined => run.status?.checkpoints?.at(-1)?.digest
const trained = (run: CustomObject, step: number): boolean => (run.status?.checkpoints?.at(-1)?.step ?? 0) >= step
const trainPod = async (run: string) =>
  (await namespace.pods(`humanizer.dev/run=${run}`)).find(
    (pod) => pod.metadata.name.includes('-train-') && pod.status.phase === 'Running' && !pod.metadata.deletionTimestamp,
  )

/** Starts a run and resolves its training pod once a checkpoint is sealed and training still goes on. */
async function midRun(name: string, changes: object = {}) {
  await namespace.apply('QLoRARun', name, runSpec(steps, changes))
  return waitFor(
    `a training pod of ${name} past its first checkpoint`,
    120,
    async () => {
      const run = await namespace.get('qlr', name)
      const folder = run && `runs/${namespace.name}/${name}/${run.metadata.uid}`
      if (!folder || !namespace.files(folder).some((file) => file.startsWith('checkpoint-'))) return undefined
      return trainPod(name)
    },
    100,
  )
}

/** A disturbed run must end Succeeded, with the very bytes of the undisturbed one, after at least one resume. */
async function endsAlike(name: string): Promise<CustomObject> {
  const run = await namespace.ready('qlr', name, 180)
  assert.equal(lastDigest(run), lastDigest(undisturbed), `${name} ended with another adapter`)
  assert.ok(
    run.status?.attempts?.some(({ resumedFromStep }) => (resumedFromStep ?? 0) > 0),
    `${name} never resumed: ${JSON.stringify(run.status?.attempts)}`,
  )
  return run
}

before(async () => {
  world = await openWorld()
  namespace = await world.openNamespace('faults')
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
  await namespace.apply('QLoRARun', 'undisturbed', runSpec(steps))
  await namespace.ready('hds', 'prose')
  undisturbed = await namespace.ready('qlr', 'undisturbed', 180)
})

test('a run that nothing disturbs improves on the baseline in one attempt', () => {
  assert.equal(undisturbed.status?.attempts?.length, 1)
  const best = undisturbed.status?.checkpoints?.find(({ best }) => best)
  assert.ok(
    Number(best?.evalLoss) < Number(undisturbed.status?.baseline?.loss),
    JSON.stringify(undisturbed.status?.checkpoints),
  )
})

test('a trainer killed with SIGKILL resumes and ends with the same bytes; the failure counts', async () => {
  await world.killContainer(await midRun('killed'))
  const run = await endsAlike('killed')
  assert.equal(run.status?.failures, 1)
})

test('a deleted training pod resumes and does not count as a failure', async () => {
  const pod = await midRun('deleted-pod')
  await namespace.kubectl(['delete', 'pod', pod.metadata.name, '--wait=false'])
  const run = await endsAlike('deleted-pod')
  assert.equal(run.status?.failures ?? 0, 0)
})

test('an evicted training pod resumes and does not count as a failure', async () => {
  const pod = await midRun('evicted')
  const eviction = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: pod.metadata.name, namespace: namespace.name },
  }
  await kubectl(
    world.cluster,
    ['create', '--raw', `/api/v1/namespaces/${namespace.name}/pods/${pod.metadata.name}/eviction`, '-f', '-'],
    JSON.stringify(eviction),
  )
  const run = await endsAlike('evicted')
  assert.equal(run.status?.failures ?? 0, 0)
})

test('a suspended run gives its pod back, and goes on to the same bytes when resumed', async () => {
  await midRun('suspended')
  await namespace.patch('qlr', 'suspended', { suspend: true })
  await waitFor('no training pod to be left', 60, async () => {
    const pods = (await namespace.pods('humanizer.dev/run=suspended')).filter(
      ({ status }) => status.phase === 'Running',
    )
    return pods.length === 0 ? true : undefined
  })
  await namespace.until(
    'qlr',
    'suspended',
    'to say Suspended',
    30,
    (run) => condition(run, 'Ready')?.reason === 'Suspended',
  )
  await namespace.patch('qlr', 'suspended', { suspend: false })
  await endsAlike('suspended')
})

test('a result is found by an operator that was down from mid-training until the pod was gone', async () => {
  const pod = await midRun('orphan')
  await world.scaleOperator(0)
  await waitFor('the training pod to finish', 180, async () => {
    const seen = (await namespace.pods('humanizer.dev/run=orphan')).find(
      ({ metadata }) => metadata.uid === pod.metadata.uid,
    )
    return seen?.status.phase === 'Succeeded' ? true : undefined
  })
  await namespace.kubectl(['delete', 'pod', pod.metadata.name])
  await world.scaleOperator(1)
  const run = await namespace.ready('qlr', 'orphan', 120)
  assert.equal(lastDigest(run), lastDigest(undisturbed))
})

test('a finished run whose Job and pod are deleted by hand stays finished and does not train again', async () => {
  await namespace.kubectl(['delete', 'jobs,pods', '-l', 'humanizer.dev/run=undisturbed', '--wait=true'])
  await new Promise((resolve) => setTimeout(resolve, 8000))
  const run = await namespace.get('qlr', 'undisturbed')
  assert.ok(run && holds(run, 'Succeeded'))
  assert.deepEqual(await namespace.pods('humanizer.dev/run=undisturbed'), [])
})

test('everything converges while gRPC is blocked', async () => {
  const table = 'table inet humanizer_test'
  await world.inNetwork('nft', [
    `add ${table}; add chain inet humanizer_test drop_grpc { type filter hook forward priority 0; }; add chain inet humanizer_test drop_local { type filter hook output priority 0; }`,
  ])
  try {
    await world.inNetwork('nft', [
      'add rule inet humanizer_test drop_grpc tcp dport 9443 drop; add rule inet humanizer_test drop_local tcp dport 9443 drop',
    ])
    await namespace.apply('QLoRARun', 'no-grpc', runSpec(40))
    const run = await namespace.ready('qlr', 'no-grpc', 120)
    assert.equal(trained(run, 40), true)
    await namespace.apply('AdapterRelease', 'no-grpc', { source: { run: { name: 'no-grpc', checkpoint: 'Best' } } })
    const released = await namespace.ready('arl', 'no-grpc', 180)
    await namespace.patch('arl', 'no-grpc', { source: { run: { name: 'no-grpc', checkpoint: 'checkpoint-20' } } })
    const wanted = run.status?.checkpoints?.find(({ name }) => name === 'checkpoint-20')?.digest
    await namespace.until(
      'arl',
      'no-grpc',
      'to serve checkpoint-20',
      180,
      ({ status }) => status?.active?.digest === wanted,
    )
    assert.ok(released.status?.active?.digest)
  } finally {
    await world.inNetwork('nft', [`delete ${table}`])
  }
})

test('no lock is left behind by any of these runs', async () => {
  for (const name of ['undisturbed', 'killed', 'deleted-pod', 'evicted', 'suspended', 'orphan']) {
    const run = await namespace.get('qlr', name)
    const folder = `runs/${namespace.name}/${name}/${run?.metadata.uid}`
    assert.ok(existsSync(join(namespace.folder, folder, 'run_config.json')), `${name} has no run_config.json`)
    assert.deepEqual(
      namespace.files(folder).filter((file) => file.includes('lock')),
      [],
    )
  }
})
