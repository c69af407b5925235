/** The rollback drill on a real API server: one annotation, there and back under requests, also when the operator dies in it. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { load } from 'js-yaml'
import type { AdapterRelease } from '../../operator/api/generated/adapterrelease.ts'
import { FAULT_EXIT_CODE } from '../../operator/kube/fault.ts'
import { binDir } from '../cache.ts'
import { blocksOf } from '../cluster/commands.ts'
import { type ApiServer, until } from './api-server.ts'
import { operatorHere } from './operator-here.ts'
import { conditionOf, digestOf, ReleaseScene, signingKey, trainerImage } from './release-scene.ts'
import { operatorIn } from './run-scene.ts'
import { sharedApiServer } from './shared-api-server.ts'

const [a, b] = ['a', 'b'].map(digestOf) as [string, string]
const serving = { replicas: 2, port: 8000 }

let server: ApiServer

before(async () => {
  server = await sharedApiServer()
})
after(() => server.stop())

/** checkpoint-12 serves on two pods, checkpoint-24 did before. */
async function ready(): Promise<ReleaseScene> {
  const scene = await ReleaseScene.begin(server)
  await scene.finishedRun()
  for (const checkpoint of ['Best', 'checkpoint-12']) {
    await scene.apply({ source: { run: { name: 'prose', checkpoint } }, serving })
    await scene.untilReady('True/Serving')
  }
  return scene
}

const request = (scene: ReleaseScene, value: string): Promise<AdapterRelease> =>
  scene.client.request('PATCH', scene.path('adapterreleases', 'writer'), {
    contentType: 'application/merge-patch+json',
    body: { metadata: { annotations: { 'humanizer.dev/drillRequestedAt': value } } },
  })

async function drilled(scene: ReleaseScene, value: string, limitSeconds = 60): Promise<AdapterRelease> {
  let seen: AdapterRelease | undefined
  await until(
    `drill ${value} to end`,
    async () => {
      seen = await scene.get()
      const { requestedAt, state = '' } = seen.status?.drill ?? {}
      return requestedAt === value && state !== 'There' && state !== 'Back'
    },
    limitSeconds,
  )
  return seen!
}

/** What docs/releases.md tells its reader to type, and to write. */
async function typed(scene: ReleaseScene): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-typed-'))
  const config = JSON.parse(server.kubeConfig())
  config.contexts[0].context.namespace = scene.namespace
  writeFileSync(join(folder, 'config'), JSON.stringify(config))
  const [annotate = '', steps = ''] = blocksOf(
    readFileSync(join(import.meta.dirname, '../../docs/releases.md'), 'utf8'),
  )
  const PATH = `${binDir}:${process.env['PATH']}`
  const env = { PATH, KUBECONFIG: join(folder, 'config'), HOME: folder }
  await promisify(execFile)('bash', ['-eu', '-c', annotate], { env })
  await until('the drill that was typed to pass', async () => {
    const { requestedAt = '', state } = (await scene.get()).status?.drill ?? {}
    return requestedAt.startsWith('20') && state === 'Passed'
  })
  const { stdout } = await promisify(execFile)('bash', ['-eu', '-c', annotate.split('\n')[1] ?? ''], { env })
  assert.equal(JSON.parse(stdout).state, 'Passed')
  rmSync(folder, { recursive: true })
  const { spec } = load(steps) as { spec: Partial<AdapterRelease['spec']> }
  await scene.apply({ source: { run: { name: 'none', checkpoint: 'Best' } }, ...spec }, 'typed')
}

test('one annotation makes a drill: seconds, requests and digests stand in status, and an Event says so', async () => {
  const scene = await ready()
  try {
    const began = await request(scene, 'monday')
    const { status, spec, metadata } = await drilled(scene, 'monday')
    const { drill } = status!
    assert.deepEqual([drill?.state, drill?.from, drill?.to, drill?.lost], ['Passed', a, b, 0], JSON.stringify(drill))
    assert.ok((drill?.answered ?? 0) >= 4, `${drill?.answered} requests answered`)
    for (const seconds of [drill?.secondsThere, drill?.secondsBack]) assert.ok(Number(seconds) < 2, `${seconds} s`)
    console.log(`# drill: ${drill?.message}`)
    assert.deepEqual([status?.active?.digest, status?.previous?.digest], [a, b])
    assert.deepEqual([spec, metadata.generation], [began.spec, began.metadata.generation])
    assert.deepEqual(scene.pods.digests, [a, a])
    await scene.untilReady('True/Serving')
    await until('the Event', async () =>
      (await scene.list('/api/v1', 'events')).some(({ reason, type }) => reason === 'DrillPassed' && type === 'Normal'),
    )
    await typed(scene)
    const before = await scene.versions()
    await scene.stopOperator()
    await scene.startOperator()
    await new Promise((resolve) => setTimeout(resolve, 3000))
    assert.deepEqual(await scene.versions(), before, 'one value, one drill')
  } finally {
    await scene.end()
  }
})

test('a release that is not Ready refuses a drill in words and stays as it is', async () => {
  const scene = await ReleaseScene.begin(server)
  try {
    await scene.apply({ source: { run: { name: 'prose', checkpoint: 'Best' } }, serving })
    await scene.untilReady('False/RunNotFound')
    await request(scene, 'early')
    const { status } = await drilled(scene, 'early')
    assert.equal(status?.drill?.state, 'Refused')
    assert.match(
      status?.drill?.message ?? '',
      /^the release is not Ready: RunNotFound: spec\.source\.run\.name: run prose does not exist/,
    )
    await scene.untilReady('False/RunNotFound')
  } finally {
    await scene.end()
  }
})

test('killed after every one of its writes, the operator brings the drill to its end and what serves back', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'humanizer-drill-'))
  const env = { SIGNING_KEY_FILE: join(folder, 'key.pem'), TRAINER_IMAGE: trainerImage }
  writeFileSync(env.SIGNING_KEY_FILE, signingKey)
  const swept: number[] = []
  const sweep = async (n: number): Promise<boolean> => {
    const scene = await ready()
    try {
      await scene.stopOperator()
      await request(scene, 'monday')
      await using faulty = operatorIn(server, scene.namespace, { ...env, FAULT_AFTER_MUTATION: String(n) })
      const done = drilled(scene, 'monday', 60).then(() => 'done' as const)
      const first = await Promise.race([faulty.exited, done])
      if (first !== 'done') {
        assert.equal(first, FAULT_EXIT_CODE, faulty.lastWords)
        swept.push(n)
      }
      await using _ = await operatorHere(server, scene.namespace, { signingKey, trainerImage })
      const { status } = await drilled(scene, 'monday', 60)
      // A drill whose operator died with requests under way may count those as lost by nobody: it passes.
      assert.equal(status?.drill?.state, 'Passed', `killed after write ${n}: ${JSON.stringify(status?.drill)}`)
      await until(`what serves is back after write ${n}`, async () => scene.pods.digests.every((each) => each === a))
      const rested = await scene.untilReady('True/Serving')
      assert.deepEqual([rested.status?.active?.digest, rested.status?.previous?.digest], [a, b])
      assert.equal(conditionOf(rested, 'Serving')?.status, 'True')
      return first !== 'done'
    } finally {
      await scene.end()
    }
  }
  const workers = [1, 2].map(async (first) => {
    for (let n = first; await sweep(n); n += 2);
  })
  await Promise.all(workers)
  rmSync(folder, { recursive: true })
  console.log(`# killed after each of ${swept.length} writes of a drill`)
  assert.ok(swept.length >= 6, `only ${swept.length} writes`)
})
