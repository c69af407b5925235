/** Runs on real pods, disturbed: what was sealed is never lost, and nothing trains that need not. */
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { callPod } from './call.ts'
import { kubectl, waitFor } from './kubectl.ts'
import type { CustomObject, Pod } from './objects.ts'
import { condition, datasetSpec, holds, type Namespace, openWorld, runFolder, runSpec, type World } from './world.ts'

const steps = 120
let world: World
let namespace: Namespace
/** A run that nothing disturbed: every disturbed one must end with the bytes of its last checkpoint. */
let undisturbed: CustomObject

const lastDigest = (run: CustomObject): string | undefined => run.status?.checkpoints?.at(-1)?.digest
const trainPods = async (run: string): Promise<readonly Pod[]> =>
  (await namespace.pods(`humanizer.dev/run=${run}`)).filter(({ metadata }) => metadata.name.includes('-train-'))

interface MidRun {
  readonly run: CustomObject
  readonly pod: Pod
}

/** Starts a run and resolves as soon as its first checkpoint is sealed: the claim is looked at directly, which is quick. */
async function begun(name: string): Promise<MidRun> {
  await namespace.apply('QLoRARun', name, runSpec(steps))
  const run = (await namespace.get('qlr', name))!
  const pod = await waitFor(`a training pod of ${name}`, 180, async () =>
    (await trainPods(name)).find(({ status }) => status.phase === 'Running'),
  )
  await waitFor(
    `${name} to seal a checkpoint`,
    120,
    async () => (namespace.sealed(run).length > 0 ? true : undefined),
    20,
  )
  return { run, pod }
}

/** The same, with the trainer held where it is: however quick the machine, there is something left to train. */
async function midRun(name: string): Promise<MidRun> {
  const middle = await begun(name)
  await world.signal(middle.pod, 'SIGSTOP')
  return middle
}

/** The highest step that is safe on the claim now; fails when there is nothing left to train. */
function sealedSoFar({ run }: MidRun): number {
  const step = namespace.sealed(run).at(-1) ?? 0
  assert.ok(step > 0 && step < steps, `${run.metadata.name} is at step ${step} of ${steps}: not in the middle`)
  return step
}

/** A disturbed run must end Succeeded, with the very bytes of the undisturbed one, and lose no step that was sealed. */
async function endsAlike({ run: { metadata } }: MidRun, sealedBefore: number): Promise<CustomObject> {
  const run = await namespace.ready('qlr', metadata.name, 300)
  assert.equal(lastDigest(run), lastDigest(undisturbed), `${metadata.name} ended with another adapter`)
  const attempts = JSON.stringify(run.status?.attempts)
  const last = run.status?.attempts?.at(-1)
  assert.ok((last?.resumedFromStep ?? 0) >= sealedBefore, `step ${sealedBefore} was sealed, and then: ${attempts}`)
  assert.equal(last?.exact, true, attempts)
  return run
}

/** When each checkpoint of a run was sealed. */
function sealTimes(run: CustomObject): Readonly<Record<number, number>> {
  const folder = join(namespace.folder, runFolder(namespace.name, run))
  const timeOf = (step: number): number => statSync(join(folder, `checkpoint-${step}`, 'manifest.json')).mtimeMs
  return Object.fromEntries(namespace.sealed(run).map((step) => [step, timeOf(step)]))
}

before(async () => {
  world = await openWorld()
  namespace = await world.openNamespace('faults')
  await namespace.apply('HumanizerDataset', 'prose', datasetSpec())
})

test('a training pod refuses calls that are unsigned or signed by a stranger, and trains on', async () => {
  const { run, pod } = await begun('undisturbed')
  const ownerUid = run.metadata.uid
  const request = { runUid: ownerUid, attempt: 1 }
  const stranger = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  const operator = await world.signingKey()
  const replies = await callPod(world, { pod, ownerUid, attempt: 1 }, [
    { method: 'stop', request },
    { method: 'stop', request, signedWith: stranger },
    { method: 'getRun', request },
    { method: 'getRun', request, signedWith: stranger },
    { method: 'getRun', request, signedWith: operator },
  ])
  const [unsigned, foreign, ...asked] = replies.map(({ code }) => code)
  assert.deepEqual([unsigned, foreign], ['UNAUTHENTICATED', 'UNAUTHENTICATED'], JSON.stringify(replies))
  assert.deepEqual(asked, ['UNAUTHENTICATED', 'UNAUTHENTICATED', 'OK'], JSON.stringify(replies))
  undisturbed = await namespace.ready('qlr', 'undisturbed', 300)
  assert.equal(undisturbed.status?.attempts?.length, 1)
  assert.equal(undisturbed.status?.checkpoints?.at(-1)?.step, steps)
})

test('a run that nothing disturbs improves on the baseline', () => {
  const best = undisturbed.status?.checkpoints?.find(({ best }) => best)
  assert.ok(
    Number(best?.evalLoss) < Number(undisturbed.status?.baseline?.loss),
    JSON.stringify(undisturbed.status?.checkpoints),
  )
})

test('a trainer killed with SIGKILL resumes and ends with the same bytes; the failure counts', async () => {
  const middle = await midRun('killed')
  const sealed = sealedSoFar(middle)
  await world.signal(middle.pod, 'SIGKILL')
  const run = await endsAlike(middle, sealed)
  assert.equal(run.status?.failures, 1)
})

test('a deleted training pod resumes and does not count as a failure', async () => {
  const middle = await midRun('deleted-pod')
  const sealed = sealedSoFar(middle)
  await namespace.kubectl(['delete', 'pod', middle.pod.metadata.name, '--wait=false'])
  await world.signal(middle.pod, 'SIGCONT')
  const run = await endsAlike(middle, sealed)
  assert.equal(run.status?.failures ?? 0, 0)
})

test('an evicted training pod resumes and does not count as a failure', async () => {
  const middle = await midRun('evicted')
  const { name } = middle.pod.metadata
  const sealed = sealedSoFar(middle)
  await kubectl(
    world.cluster,
    ['create', '--raw', `/api/v1/namespaces/${namespace.name}/pods/${name}/eviction`, '-f', '-'],
    JSON.stringify({ apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: namespace.name } }),
  )
  await world.signal(middle.pod, 'SIGCONT')
  const run = await endsAlike(middle, sealed)
  assert.equal(run.status?.failures ?? 0, 0)
})

test('a suspended run gives its pod back, and goes on to the same bytes when resumed', async () => {
  const middle = await midRun('suspended')
  const sealed = sealedSoFar(middle)
  await namespace.patch('qlr', 'suspended', { suspend: true })
  await waitFor('the training pod to be told to stop', 120, async () =>
    (await trainPods('suspended')).find(({ metadata }) => metadata.deletionTimestamp),
  )
  await world.signal(middle.pod, 'SIGCONT')
  await namespace.until(
    'qlr',
    'suspended',
    'to say Suspended',
    120,
    (run) => condition(run, 'Ready')?.reason === 'Suspended',
  )
  await waitFor('no training pod to be left', 120, async () =>
    (await trainPods('suspended')).length === 0 ? true : undefined,
  )
  await namespace.patch('qlr', 'suspended', { suspend: false })
  const run = await endsAlike(middle, sealed)
  assert.equal(run.status?.failures ?? 0, 0)
})

test('a result is found by an operator that was down from mid-training until the pod was gone', async () => {
  const middle = await midRun('orphan')
  const { pod } = middle
  let sealTimesAtEnd: Readonly<Record<number, number>>
  try {
    await world.scaleOperator(0) // however slow it is to leave: training waits for it
    sealedSoFar(middle)
    const unfinished = await namespace.get('qlr', 'orphan')
    assert.equal(condition(unfinished!, 'Succeeded')?.status, 'Unknown')
    await world.signal(pod, 'SIGCONT')
    await waitFor('the training pod to finish', 240, async () =>
      (await trainPods('orphan')).find(
        ({ metadata, status }) => metadata.uid === pod.metadata.uid && status.phase === 'Succeeded',
      ),
    )
    sealTimesAtEnd = sealTimes(middle.run)
    assert.ok(sealTimesAtEnd[steps], `sealed: ${Object.keys(sealTimesAtEnd)}`)
    await namespace.kubectl(['delete', 'pod', pod.metadata.name])
  } finally {
    await world.scaleOperator(1)
  }
  const run = await namespace.ready('qlr', 'orphan', 240)
  assert.equal(lastDigest(run), lastDigest(undisturbed))
  assert.deepEqual(sealTimes(run), sealTimesAtEnd, 'something trained again')
})

test('a finished run whose Job and pod are deleted by hand stays finished and does not train again', async () => {
  const sealedAt = sealTimes(undisturbed)
  await namespace.kubectl(['delete', 'jobs,pods', '-l', 'humanizer.dev/run=undisturbed', '--wait=true'])
  await namespace.patch('qlr', 'undisturbed', { maxRetries: 7 })
  const { generation } = (await namespace.get('qlr', 'undisturbed'))!.metadata
  const run = await namespace.until(
    'qlr',
    'undisturbed',
    'to be looked at again by the operator',
    120,
    ({ status }) => status?.observedGeneration === generation,
  )
  assert.ok(holds(run, 'Succeeded') && holds(run, 'Ready'), JSON.stringify(run.status?.conditions))
  const end = Date.now() + 10_000
  while (Date.now() < end) {
    await nothingWorksFor('undisturbed')
    await sleep(500)
  }
  assert.deepEqual(sealTimes(undisturbed), sealedAt)
})

async function nothingWorksFor(run: string): Promise<void> {
  assert.equal(await namespace.kubectl(['get', 'jobs,pods', '-l', `humanizer.dev/run=${run}`, '-o', 'name']), '')
}

/** Packets to the pods' gRPC port that were dropped since blockCalls(). */
async function dropped(): Promise<number> {
  const listed = await world.inNetwork('nft', ['-j', 'list', 'counter', ...counter])
  const { nftables } = JSON.parse(listed) as { nftables: { counter?: { packets: number } }[] }
  return nftables.find((each) => each.counter)?.counter?.packets ?? assert.fail(listed)
}

/** Pods of one node meet on its bridge. */
const table = ['bridge', 'humanizer_test'] as const
const counter = [...table, 'calls'] as const
const blockCalls = (): Promise<string> =>
  world.inNetwork('nft', [
    `table ${table.join(' ')} { counter calls { }; chain forward { type filter hook forward priority 0; tcp dport 9443 counter name calls drop; }; }`,
  ])

test('everything converges while gRPC is blocked', async (t) => {
  await blockCalls()
  try {
    await namespace.apply('HumanizerDataset', 'no-grpc', datasetSpec(120))
    await namespace.apply('QLoRARun', 'no-grpc', runSpec(40, { datasetRef: { name: 'no-grpc' } }))
    const run = await namespace.ready('qlr', 'no-grpc', 300)
    assert.equal(run.status?.attempts?.length, 1)
    assert.equal(run.status?.checkpoints?.at(-1)?.step, 40)
    const whileTraining = await dropped()
    assert.ok(whileTraining > 0, 'the operator never called the trainer')

    await namespace.apply('AdapterRelease', 'no-grpc', {
      source: { run: { name: 'no-grpc', checkpoint: 'checkpoint-40' } },
    })
    const first = await namespace.ready('arl', 'no-grpc', 240)
    assert.equal(first.status?.active?.digest, lastDigest(run))
    await namespace.patch('arl', 'no-grpc', { source: { run: { name: 'no-grpc', checkpoint: 'checkpoint-20' } } })
    const wanted = run.status?.checkpoints?.find(({ name }) => name === 'checkpoint-20')?.digest
    assert.notEqual(wanted, undefined)
    await namespace.until(
      'arl',
      'no-grpc',
      'to serve checkpoint-20',
      240,
      (release) => release.status?.active?.digest === wanted && holds(release, 'Ready'),
    )
    const whileServing = (await dropped()) - whileTraining
    assert.ok(whileServing > 0, 'the operator never called the serving pod')
    t.diagnostic(`${whileTraining} packets to the trainer and ${whileServing} to the serving pod were dropped`)
  } finally {
    await world.inNetwork('nft', ['delete', 'table', ...table])
  }
})

test('no lock is left behind by any of these runs, and the finished one rests', async () => {
  for (const name of ['undisturbed', 'killed', 'deleted-pod', 'evicted', 'suspended', 'orphan']) {
    const folder = runFolder(namespace.name, (await namespace.get('qlr', name))!)
    assert.ok(existsSync(join(namespace.folder, folder, 'run_config.json')), `${name} has no run_config.json`)
    assert.deepEqual(
      namespace.files(folder).filter((file) => file.includes('lock')),
      [],
    )
  }
  await nothingWorksFor('undisturbed')
})
